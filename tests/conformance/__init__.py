"""The Autobahn Testsuite against dorrit: all of RFC 6455 and RFC 7692, asked by somebody else."""

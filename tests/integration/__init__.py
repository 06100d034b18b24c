"""dorrit and the programs that it works with: nginx, Chromium, Node.js, other libraries."""

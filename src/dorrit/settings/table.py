"""Every setting once: name, type, range, default, help, and what the manual says of it.

The command line, the checks of what is given in code, the types, what the engine is told and the
documentation are made from this one table. What the command line says goes before what the code
says, and that before the table.
"""

import os
from typing import Final

from dorrit.protocol.origin import read_origin
from dorrit.settings.readers import (
    ADDRESS_HEADERS,
    EVENT_LOOPS,
    LOG_FORMATS,
    LOG_LEVELS,
    SLOW_CLIENTS,
    TAKEOVERS,
    OneOf,
    OneOfInAnyCase,
    Seconds,
    WholeNumber,
    absolute_path,
    file_name,
    url_path,
    user_name,
)
from dorrit.settings.setting import Limit, Setting

SETTINGS: Final = (
    Setting(
        "buffer_size", "-b", "N", 65540, int, WholeNumber(10, 65540),
        "bytes of a connection's buffer, 10 to 65540; without --rfc a client's message may have "
        "up to N - 5 bytes; larger outgoing ones are sent in fragments of that size",
        engine="CLimits", engine_least=10,
        manual="""
            Give each connection a buffer of
            .Ar N
            bytes, 10 to 65540.
            A client that sends a message of more than
            .Ar N
            \\(mi 5 bytes is disconnected; longer messages to clients are sent in fragments
            of that size.""",
    ),
    Setting(
        "listen", "-l", "PATH", None, str | os.PathLike, absolute_path,
        "absolute path of the socket to listen on",
        unset="/var/run/NAME.socket, where NAME is what the server calls itself, or dorrit",
        manual="""
            Listen on the socket
            .Ar PATH ,
            which must be absolute.
            The default is
            .Pa /var/run/NAME.socket ,
            where NAME is what the server calls itself, or
            .Pa /var/run/dorrit.socket
            if it has no name.""",
    ),
    Setting(
        "max_connections", "-m", "N", 16384, int, WholeNumber(1, 10_000_000),
        "simultaneous connections, 1 to 10000000; one more is answered 503",
        engine="CLimits", engine_least=1,
        limit=Limit(
            "503", "everything that takes many connections; who is in stays in",
            "`test_connections`",
        ),
        manual="""
            Allow
            .Ar N
            simultaneous connections, 1 to 10000000; one more is answered with HTTP status
            503.
            The limit of open descriptors is raised if need be; if that can't be done, there
            are as many connections as leave 64 descriptors for all else, and the log says
            how many that is.""",
    ),
    Setting(
        "user", "-u", "USER", None, str | int, user_name,
        "run as this user, a name or a number",
        unset="nobody if started as root, else the current one",
        manual="""
            Run as this user, a name or a number, and give it the socket.
            The groups that the user is in are kept.
            The default is
            .Dq nobody
            if root starts the server.
            Anybody else can only name the current user, which is the default then.
            So can root in a container that has no capabilities, with
            .Fl u Ar root Fl g Ar root .
            Threads that run before privileges are dropped must not keep any: if they would,
            the server does not start, and names them.""",
    ),
    Setting(
        "group", "-g", "GROUP", None, str | int, user_name,
        "run with this group, a name or a number",
        unset="nobody if started as root, else the current one",
        manual="""
            Run with this group, a name or a number, and give it the socket.
            The web server must be in this group, or be the
            .Ar USER .
            The default is
            .Dq nobody
            if root starts the server; where there is no such group, that of the user
            nobody.
            Anybody else can name each group that he is in, and it is the socket's alone;
            the default then is the current one.
            In a directory with the set-group-ID bit, the socket has the group of the
            directory unless another one is named.""",
    ),
    Setting(
        "foreground", "-x", None, default=False, accepts=bool, read=bool,
        help="stay in the foreground: no daemon, no pid file, errors on stderr",
        opposite="--no-foreground",
        manual="""
            Stay in the foreground: no daemon, no pid file, and the log goes to standard
            error.
            .Fl -no-foreground
            makes a daemon of a server whose code says otherwise.""",
    ),
    Setting(
        "supervise", None, None, default=None, accepts=bool, read=bool,
        help="have a supervisor, a process that keeps all connections whatever ends the server's",
        unset="a daemon has one, unless a crash is to end it",
        opposite="--no-supervise",
        manual="""
            Have a supervisor: a process without the server's code, which accepts the
            connections, keeps a copy of each, and starts another worker when the one that
            serves them has ended, also by
            .Dv SIGKILL
            or for want of memory.
            A daemon has one, but for
            .Fl -no-supervise
            and
            .Fl -no-restart .""",
    ),
    Setting(
        "preload", None, None, default=False, accepts=bool, read=bool,
        help="have a supervisor's spare worker load the server ahead: it goes on with less delay",
        opposite="--no-preload",
        manual="""
            Have the spare worker of a supervisor load the server's file or module ahead, so that
            clients wait less when it takes over; otherwise it has loaded
            .Nm
            only.
            What the file does when it is loaded then happens while another worker serves.
            .Fl -no-preload
            does not even if the server's code says otherwise.""",
    ),
    Setting(
        "no_restart", None, None, default=False, accepts=bool, read=bool,
        help="let a crash end the server; otherwise it is restarted, with the same pid",
        opposite="--restart",
        manual="""
            Let a crash end the server, instead of restarting it.
            .Fl -restart
            has it restarted even if the server's code says otherwise.""",
    ),
    Setting(
        "config_file", "-f", "FILE", None, str | os.PathLike, file_name,
        "for the server's own use: the name is in dorrit.ws_config_file",
        manual="""
            Pass the name of a file to the server, which finds it in
            .Va dorrit.ws_config_file .
            .Nm
            itself does not look at it.""",
    ),
    Setting(
        "log_level", None, "LEVEL", "info", str, OneOf(LOG_LEVELS),
        f"what to log: {', '.join(LOG_LEVELS[:-1])} or {LOG_LEVELS[-1]}, each with those after it",
        manual="""
            Log what is at least as grave as
            .Ar LEVEL :
            .Cm debug ,
            .Cm info ,
            .Cm warning ,
            .Cm error
            or
            .Cm critical .""",
    ),
    Setting(
        "log", None, "FILE", None, str | os.PathLike, absolute_path,
        "absolute path of the file to write the log to; it is opened anew at SIGHUP",
        unset="stderr, and syslog for a daemon",
        manual="""
            Write the log to this file, instead of standard error or
            .Xr syslog 3 .
            It is an absolute path.
            A file that is not there is made, with mode 0640, for the server's user.
            It is opened anew at
            .Dv SIGHUP .""",
    ),
    Setting(
        "log_format", None, "FORMAT", "text", str, OneOf(LOG_FORMATS),
        "what a record of the log looks like: text, or json, one object on each line",
        manual="""
            What a record of the log looks like:
            .Cm text ,
            or
            .Cm json ,
            one object on each line.""",
    ),
    Setting(
        "access_log", None, None, default=False, accepts=bool, read=bool,
        help="log each client that is refused, and the end of each connection, with its duration",
        opposite="--no-access-log",
        manual="""
            Log each client that is refused, and the end of each connection: its number,
            the client's address
            .Pq see Fl -trust ,
            the path, the close code and the seconds that it lasted.""",
    ),
    Setting(
        "slow_handler", None, "SECONDS", 1.0, float | int, Seconds(0.1, 3600, zero=True),
        "seconds for which a handler may hold up everybody, 0.1 to 3600; then the log says where "
        "it is; 0: it never does",
        manual="""
            Let a handler hold up everybody for this long, 0.1 to 3600; then the log has
            where it is, at most once in 10 seconds.
            0 means that the log never does, and that the process has no second thread.""",
    ),
    Setting(
        "origin", None, "ORIGIN", (), str, read_origin,
        "accept only clients from this origin, refuse others with 403; an exact one "
        "(https://example.org), same (that of the request's Host), none (no Origin field: not a "
        "browser), null (a page that has no origin of its own), or a pattern "
        "(https://*.example.org), in all of which the port is left out where it is the scheme's "
        "own; may be given more than once",
        unset="every origin", repeatable=True,
        manual="""
            Accept only clients from this origin, which is that of the page whose script
            connects; others are answered with HTTP status 403.
            .Ar ORIGIN
            is one of:
            .Pp
            .Bl -tag -width https://*.example.org -compact
            .It Li https://example.org
            Exactly this one.
            .It Li https://*.example.org
            One that fits this pattern, in which * stands for one or more letters, digits,
            dots, hyphens and underscores.
            Browsers leave the usual port of a scheme out:
            .Li http://localhost:*
            is not
            .Li http://localhost .
            .It Cm same
            That of the request's
            .Li Host .
            .It Cm none
            The request has no
            .Li Origin :
            it does not come from a browser.
            .It Cm null
            That of a page which has none of its own, such as a file, or a frame in a
            sandbox.
            Some programs send
            .Li file://
            for a file instead.
            .El
            .Pp
            May be given more than once; then a client from any of these may connect.
            Those that the server's code gives are replaced, not added to.
            The default is every origin, so that a page of any site can connect with the
            cookies of whoever visits it.""",
    ),
    Setting(
        "trust", None, "HEADER", None, str, OneOfInAnyCase(ADDRESS_HEADERS),
        f"take the client's address from this header ({', '.join(ADDRESS_HEADERS[:-1])} or "
        f"{ADDRESS_HEADERS[-1]}), which your web server must set; without it no header is trusted "
        "and the address is unknown",
        manual="""
            Take the client's address from this header:
            .Li X-Forwarded-For ,
            .Li Forwarded
            or
            .Li X-Real-IP ,
            in any case of letters.
            The web server must set it, or else clients can choose their address.
            Without this option no header is trusted and the address is unknown.""",
    ),
    Setting(
        "allow_peer", None, "USER", (), str | int, user_name,
        "accept only connections of processes of this user, a name or a number, such as the web "
        "server's (www-data), refuse others with 403; may be given more than once",
        unset="every user who may connect to the socket", repeatable=True,
        engine="Limits",
        manual="""
            Accept only connections of processes of this user, a name or a number, such as
            .Dq www-data ,
            the user of the web server; others are answered with HTTP status 403.
            May be given more than once; then the processes of any of these users may
            connect.
            The default is every user who may connect to the socket.""",
    ),
    Setting(
        "health", None, "PATH", None, str, url_path,
        "answer a plain GET of this path, such as /health, with 200, or 503 while the server "
        "is full or stops, and without a line in the log: for the checks of a load balancer",
        engine="Limits",
        manual="""
            Answer a plain GET or HEAD of this path, such as
            .Pa /health ,
            with HTTP status 200, or 503 while the server has as many connections as it may
            have, or stops, and close the connection: for the checks of a load balancer,
            which then sends nobody else here.
            It may be HTTP/1.0 and have no
            .Li Host .
            Such a request is not logged, and no handler hears of it; what asks for a
            WebSocket on this path gets one.
            Without this option it is refused, as all that does not ask for a WebSocket.""",
    ),
    Setting(
        "rfc", None, None, default=False, accepts=bool, read=bool,
        help="accept all of RFC 6455, fragments and messages of --max-message bytes; else a client "
        "that sends a fragment, or more than N - 5 bytes of the buffer, is dropped; on for a "
        "Server object",
        opposite="--no-rfc",
        engine="CLimits",
        manual="""
            Accept all of RFC 6455: fragments, and messages of
            .Fl -max-message
            bytes.
            Without it a client is dropped that sends a fragment, or more bytes in a message
            than the buffer's less 5.
            For a Server object it is on unless
            .Fl -no-rfc
            is given.""",
    ),
    Setting(
        "max_message", None, "N", 1024 * 1024, int, WholeNumber(1, 2**30),
        "with --rfc: bytes of the largest message that a client may send, decompressed, 1 to "
        "1073741824; one that sends more is closed with 1009",
        engine="CLimits", engine_least=1,
        limit=Limit(
            "1009",
            "large messages, fragments without end, deflate bombs: it is looked at while they"
            " come, decompressed", "`test_frames`",
        ),
        manual="""
            With
            .Fl -rfc :
            close a client with the code 1009 if it sends a message of more than
            .Ar N
            bytes, 1 to 1073741824; of a compressed one they are counted as it is
            decompressed.""",
    ),
    Setting(
        "deflate", None, None, default=False, accepts=bool, read=bool,
        help="with --rfc: compress messages for clients that can take it (permessage-deflate), and "
        "take compressed ones",
        opposite="--no-deflate",
        engine="Limits",
        manual="""
            With
            .Fl -rfc :
            compress messages for clients that can take it, and take compressed ones
            .Pq permessage-deflate, RFC 7692 .
            Messages that an attacker can have a part in should not be compressed together
            with secrets.""",
    ),
    Setting(
        "deflate_takeover", None, "WHO", "none", str, OneOf(TAKEOVERS),
        "who may compress a message by what was in the ones before: none, server, client or both; "
        "it makes small messages smaller, and keeps up to 300 kilobytes for each connection",
        engine="Limits",
        manual="""
            Who may compress a message by what was in the ones before:
            .Cm none ,
            .Cm server ,
            .Cm client
            or
            .Cm both .
            It makes small messages smaller, keeps up to 300 kilobytes for each connection,
            and has a broadcast compressed for each of them.""",
    ),
    Setting(
        "deflate_keep_window", None, None, default=False, accepts=bool, read=bool,
        help="keep the last 32 KiB that each client's compressed messages may refer to, so that a "
        "reload does not close it",
        opposite="--no-deflate-keep-window",
        engine="Limits",
        manual="""
            Keep the last 32 KiB that the messages of each client have said, if they may refer
            to earlier ones: so a reload does not close it.""",
    ),
    Setting(
        "deflate_window_bits", None, "N", 15, int, WholeNumber(9, 15),
        "size of the window of what the server compresses, 2^N bytes, 9 to 15",
        engine="Limits", engine_least=9,
        manual="""
            The server compresses with a window of 2^N bytes, 9 to 15; a client may ask for
            a smaller one.""",
    ),
    Setting(
        "deflate_from", None, "N", 128, int, WholeNumber(0, 2**30),
        "bytes from which on a message is worth compressing, 0 to 1073741824",
        engine="CLimits",
        manual="""
            Compress messages of
            .Ar N
            bytes or more, 0 to 1073741824.""",
    ),
    Setting(
        "handshake_timeout", None, "SECONDS", 10.0, float | int, Seconds(0.25, 3600),
        "seconds in which a client's request must have come, 0.25 to 3600; then it is answered 408",
        engine="CLimits",
        limit=Limit("408", "slowloris: requests that never end", "`test_connections`"),
        manual="""
            Answer a client with HTTP status 408 if its request has not come after this
            long, 0.25 to 3600.""",
    ),
    Setting(
        "max_head", None, "N", 65536, int, WholeNumber(1024, 65536),
        "bytes of a client's request, 1024 to 65536; a larger one is answered 431",
        engine="CLimits", engine_least=1,
        limit=Limit("431", "requests that only cost memory and parsing", "`test_connections`"),
        manual="""
            Answer a client with HTTP status 431 if its request has more than
            .Ar N
            bytes, 1024 to 65536.
            One line of it may have no more than 32768 whatever this says.""",
    ),
    Setting(
        "max_handshakes", None, "N", 1024, int, WholeNumber(1, 10_000_000),
        "connections whose request has not come yet, 1 to 10000000; for one more, the oldest of "
        "them is answered 503",
        engine="CLimits", engine_least=1,
        limit=Limit(
            "the oldest connection without a request gets 503",
            "floods of silent connections. One whose request has come is not turned away",
            "`test_connections`",
        ),
        manual="""
            Let no more than
            .Ar N
            connections be there whose request has not come, 1 to 10000000; for one more,
            the oldest of them is answered with HTTP status 503.""",
    ),
    Setting(
        "max_per_client", None, "N", 0, int, WholeNumber(0, 10_000_000),
        "connections from one address, or from one /64 network of IPv6, 0 to 10000000; one more is "
        "answered 429; needs --trust; 0: no limit",
        limit=Limit(
            "429; 0: no limit",
            "one address that takes all places. Needs `--trust`; a /64 network of IPv6 is one"
            " address", "`test_connections`",
        ),
        manual="""
            Let one address, or one /64 network of IPv6, have no more than
            .Ar N
            connections, 0 to 10000000; one more is answered with HTTP status 429.
            It needs
            .Fl -trust ,
            without which no address is known, and a web server that sets that header: a
            client for which it holds no address is not counted, which is logged once.
            0 means no limit.""",
    ),
    Setting(
        "max_message_rate", None, "N", 0, int, WholeNumber(0, 1_000_000),
        "messages that a client may send in a second, 0 to 1000000; fragments and pings count; one "
        "that sends more is closed with 1008; 0: no limit",
        engine="CLimits",
        limit=Limit(
            "1008; 0: no limit", "floods of messages, pings and fragments", "`test_frames`",
        ),
        manual="""
            Close a client with the code 1008 if it sends more than
            .Ar N
            messages in a second, 0 to 1000000; fragments and pings count, too.
            0 means no limit.""",
    ),
    Setting(
        "close_timeout", None, "SECONDS", 10.0, float | int, Seconds(0.25, 3600),
        "seconds that a client that is closed has for its part, as long as it reads nothing, 0.25 "
        "to 3600; then it is cut off",
        engine="CLimits",
        limit=Limit("cut off", "clients that do not answer a close frame", "`test_deadlines`"),
        manual="""
            Give a client that is being closed this long for its part, 0.25 to 3600, as
            long as it reads nothing; then it is cut off.""",
    ),
    Setting(
        "stop_timeout", None, "SECONDS", 10.0, float | int, Seconds(0, 3600),
        "seconds that all clients have for theirs when the server stops, 0 to 3600",
        limit=Limit(
            "cut off", "clients that would keep the server from stopping", "`test_deadlines`",
        ),
        manual="""
            Give all clients this long to take in that the server stops, 0 to 3600; then
            they are cut off.""",
    ),
    Setting(
        "max_buffered", None, "N", 256 * 2**20, int, WholeNumber(16 * 2**20, 2**50, zero=True),
        "bytes of messages under way, to be sent or incomplete, for all clients together, 16777216 "
        "to 1125899906842624; beyond it the client with most of them is closed with 1013; 0: no "
        "limit",
        engine="CLimits",
        limit=Limit(
            "the client for whom most is there gets 1013, or 503 if it has not been accepted "
            "yet; of a broadcast each has its part",
            "clients that do not read, or send messages without an end, many at once",
            "`test_frames`, `test_deadlines`",
        ),
        manual="""
            Let no more than
            .Ar N
            bytes of messages be under way, to be sent or incomplete, for all clients
            together, 16777216 to 1125899906842624.
            Beyond it the client with most of them is closed with the code 1013.
            A message that is queued for many clients counts once.
            It must not be less than
            .Fl -max-message .
            0 means no limit.""",
    ),
    Setting(
        "slow_clients", None, "WHAT", "refuse", str, OneOf(SLOW_CLIENTS),
        "what happens to a message for a client whose queue is full: refuse drops this message for "
        "this client; close closes the client with 1008",
        engine="CLimits",
        limit=Limit(
            "`refuse`: a message that does not fit is left out for this client; `close`: 1008",
            "one client that does not read", "`test_deadlines`",
        ),
        manual="""
            What happens to a message for a client whose queue is full:
            .Cm refuse
            drops this message for this client;
            .Cm close
            closes the client with the code 1008.""",
    ),
    Setting(
        "max_pending_bytes", None, "N", 0, int, WholeNumber(0, 2**31 - 1),
        "bytes that may wait for one client beside the limit of 200 frames, 0 to 2147483647; 0: no "
        "limit of bytes",
        engine="CLimits",
        limit=Limit("as `--slow-clients` says; 0: 200 frames only", "the same", "`test_deadlines`"),
        manual="""
            Let no more than
            .Ar N
            bytes wait for one client, 0 to 2147483647, beside the limit of 200 frames.
            What happens to a message that would exceed it says
            .Fl -slow-clients .
            0 means no limit of bytes.""",
    ),
    Setting(
        "max_topics", None, "N", 100, int, WholeNumber(0, 10_000_000),
        "topics that one client may be subscribed to, 0 to 10000000; it is not to more of them; 0: "
        "no limit",
        engine="CLimits",
        limit=Limit(
            "it is not subscribed to more; 0: no limit",
            "clients whose words are taken for topics, and who think of new ones",
            "`tests/engine/test_publish.py`",
        ),
        manual="""
            Let a client be subscribed to no more than
            .Ar N
            topics, 0 to 10000000.
            0 means no limit.""",
    ),
    Setting(
        "max_publish", None, "N", 1024 * 1024, int, WholeNumber(1, 2**30),
        "bytes of the largest message that may be published to a topic, 1 to 1073741824",
        engine="CLimits", engine_least=1,
        limit=Limit(
            "the server's own code gets a ValueError", "what a client sends, published as it is",
            "`tests/engine/test_publish.py`",
        ),
        manual="""
            Let no message of more than
            .Ar N
            bytes be published to a topic, 1 to 1073741824.""",
    ),
    Setting(
        "ping_interval", None, "SECONDS", 0.0, float | int, Seconds(0.25, 86400, zero=True),
        "send a ping to a client that has been silent for this long, 0.25 to 86400; 20 keeps "
        "proxies with a timeout of 60 from closing it; 0: never",
        engine="CLimits",
        limit=Limit(
            "a ping", "clients that have gone without a word; 0: no pings", "`test_deadlines`",
        ),
        manual="""
            Send a ping to a client that has been silent for this long, 0.25 to 86400.
            20 keeps proxies with a timeout of 60 seconds from closing the connection.
            0 means that none is sent.""",
    ),
    Setting(
        "ping_timeout", None, "SECONDS", 20.0, float | int, Seconds(0.25, 86400, zero=True),
        "close a client that sends nothing for this long after a ping, 0.25 to 86400; 0: never",
        engine="CLimits",
        limit=Limit("3008", "the same", "`test_deadlines`"),
        manual="""
            Close a client that sends nothing for this long after a ping, 0.25 to 86400.
            0 means that none is closed for this.""",
    ),
    Setting(
        "idle_timeout", None, "SECONDS", 0.0, float | int, Seconds(0.25, 86400, zero=True),
        "close a client with which no message was exchanged for this long, 0.25 to 86400, pings do "
        "not count; 0: never",
        engine="CLimits",
        limit=Limit(
            "3008; 0: no limit", "clients that take a place and say nothing", "`test_deadlines`",
        ),
        manual="""
            Close a client with which no message was exchanged for this long, 0.25 to
            86400.
            Pings and pongs do not count.
            0 means that none is closed for this.""",
    ),
    Setting(
        "max_lifetime", None, "SECONDS", 0.0, float | int, Seconds(0.25, 604800, zero=True),
        "close a client this long after it was accepted, whatever it does, 0.25 to 604800, so that "
        "it has to come again and be asked who it is; 0: never",
        engine="CLimits",
        limit=Limit(
            "3008; 0: no limit", "clients that stay when what let them in (a cookie) is over",
            "`tests/engine/test_expiry.py`",
        ),
    ),
    Setting(
        "max_waiting", None, "N", 16, int, WholeNumber(1, 10_000),
        "messages of one client that may wait while an async handler runs for it, 1 to 10000; then "
        "the server stops reading from it",
        limit=Limit(
            "nothing more is read from this client", "floods of messages to a slow `async` handler",
            "`test_frames`",
        ),
        manual="""
            Let up to
            .Ar N
            messages of one client wait, 1 to 10000, while an async handler runs for it.
            Then the server stops reading from this client until one of them has been
            handled.""",
    ),
    Setting(
        "stop_grace", None, "SECONDS", 5.0, float | int, Seconds(0, 3600),
        "seconds that handlers (and threads, when all else has ended) get to finish when the "
        "server stops, 0 to 3600; then async ones are cancelled, and the others left with the "
        "process",
        limit=Limit(
            "cancelled, then left",
            "handlers, threads and processes that would keep it from stopping",
            "`tests/drive/test_tasks.py`, `tests/process/fork/test_children.py`, "
            "`tests/process/exit/test_leaving.py`, `tests/process/exit/test_overdue.py`",
        ),
        manual="""
            Give handlers this long to finish when the server stops, 0 to 3600.
            Then async ones are cancelled.
            For a plain one that does not return, or for
            .Li on_stop
            or
            .Fn ws_exit_func ,
            the process waits 2 seconds more; then it removes its files, and ends with
            status 1.
            Threads, processes of Python's module multiprocessing, and what holds up the
            end of the interpreter, have as long when all else is over; then the processes
            are terminated, and the server's ends without the rest.""",
    ),
    Setting(
        "resume_timeout", None, "SECONDS", 60.0, float | int, Seconds(0, 86400),
        "seconds for which the server's new code is tried again after a reload if it can't be "
        "started, 0 to 86400; meanwhile clients wait, and then they are told to connect again "
        "later (1012)",
        limit=Limit(
            "1012, then the end", "new code that does not come to serve",
            "`tests/drive/test_start_timeout.py`",
        ),
        manual="""
            Try for this long, 0 to 86400, to start the server's new code after a reload if that
            raises or does not end:
            at once, and then after waits that grow.
            Meanwhile clients wait.
            Then they are closed with 1012, and the process ends with status 1.
            The next reload begins that time anew.""",
    ),
    Setting(
        "event_loop", None, "WHICH", "auto", str, OneOf(EVENT_LOOPS),
        "what async handlers run in: auto takes uvloop where it is installed and else asyncio's "
        "own loop; asyncio and uvloop are these",
        manual="""
            What async handlers run in:
            .Cm auto
            takes uvloop where it is installed, and else asyncio's own loop;
            .Cm asyncio
            and
            .Cm uvloop
            are these.""",
    ),
    Setting(
        "keep_requests", None, None, default=False, accepts=bool, read=bool,
        help="keep each client's request (conn.request) as long as the connection, which costs a "
        "few kilobytes each; without it the request is there in the open handler only",
        opposite="--no-keep-requests",
        engine="CLimits",
        manual="""
            Keep each client's request
            .Pq Va conn.request
            as long as the connection, which costs a few kilobytes each.
            Without it the request is there in the open handler only.""",
    ),
)  # fmt: skip

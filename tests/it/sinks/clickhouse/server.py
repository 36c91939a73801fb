"""ClickHouse's own engine (chdb) behind ClickHouse's HTTP interface, as far as the tests go.

server.py PORT FOLDER PASSWORD

Answers POST / as ClickHouse does: the statement in the body, settings in the query, who asks by
Basic or in X-ClickHouse-User and X-ClickHouse-Key (`default` and PASSWORD), errors with their code
in X-ClickHouse-Exception-Code and a status as src/Server/HTTP/exceptionCodeToHTTPStatus.cpp has it.
GET /chdb?query=… hands a statement to chdb and returns what it says.
"""

import base64
import gzip
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from chdb import session

PORT, FOLDER, PASSWORD = int(sys.argv[1]), sys.argv[2], sys.argv[3]
ENGINE = session.Session(FOLDER)
LOCK = threading.Lock()

# Parameters of the interface that are no settings.
RESERVED = {"database", "query", "wait_end_of_query", "user", "password", "default_format"}
STATUS = {194: 401, 516: 401, 192: 403, 193: 403, 497: 403, 60: 404, 81: 404, 47: 404, 159: 408, 48: 501}
BAD = {16, 25, 26, 27, 33, 38, 41, 53, 62, 69, 72, 115, 117, 130, 131, 321, 349, 376, 469, 675, 691}


class Refused(Exception):
    pass


def run(sql):
    return ENGINE.query(sql, "TabSeparated").bytes()


def literal(text):
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        url = urlsplit(self.path)
        self.said(lambda: run(dict(parse_qsl(url.query))["query"]) if url.path == "/chdb" else b"Ok.\n")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.said(lambda: self.statement(body.decode()))

    def statement(self, sql):
        self.authenticate()
        asked = parse_qsl(urlsplit(self.path).query, keep_blank_values=True)
        run(f"USE `{dict(asked).get('database', 'default')}`")
        for name, value in asked:
            if name not in RESERVED:
                run(f"SET {name} = {literal(value)}")
        return run(sql)

    def authenticate(self):
        user, key = self.headers.get("x-clickhouse-user"), self.headers.get("x-clickhouse-key")
        scheme, _, rest = self.headers.get("authorization", "").partition(" ")
        if scheme == "Basic":
            user, _, key = base64.b64decode(rest).decode().partition(":")
        if (user or "default", key or "") != ("default", PASSWORD):
            raise Refused("Code: 516. DB::Exception: default: Authentication failed: password is "
                          "incorrect, or there is no user with such name. (AUTHENTICATION_FAILED)")

    def said(self, work):
        code = 0
        try:
            with LOCK:
                body = work()
        except Exception as error:
            body = str(error).encode()
            found = re.search(r"Code: (\d+)\.", str(error))
            code = int(found[1]) if found else 1002
        status = 200 if code == 0 else STATUS.get(code, 400 if code in BAD else 500)
        self.send_response(status)
        if code:
            self.send_header("X-ClickHouse-Exception-Code", str(code))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()

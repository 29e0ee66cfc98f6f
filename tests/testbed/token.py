"""A registry that wants a token, as Docker Hub does: in front of one that wants nothing.

    token.py UPSTREAM_PORT

Prints its port. Tokens are given to everybody for what is public, and by the login `ann:hush` for what is below `shut/`.
"""
import base64
import http.client
import http.server
import sys
import urllib.parse

upstream = int(sys.argv[1])


class Gate(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, headers, body=b""):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def token(self, query):
        scope = dict(urllib.parse.parse_qsl(query)).get("scope", "")
        login = "Basic " + base64.b64encode(b"ann:hush").decode()
        if ":shut/" in scope and self.headers.get("Authorization") != login:
            self.answer(401, [], b'{"details": "incorrect username or password"}')
            return
        # As Docker Hub says it: compact, the token twice.
        token = base64.urlsafe_b64encode(scope.encode()).decode()
        self.answer(200, [("Content-Type", "application/json")], b'{"token":"%s","access_token":"%s","expires_in":300}' % ((token.encode(),) * 2))

    def go(self):
        place = urllib.parse.urlsplit(self.path)
        if place.path == "/token":
            return self.token(place.query)
        parts = place.path.split("/")
        name = "/".join(parts[2:-2])
        wanted = "repository:%s:pull" % name if name else ""
        kind, _, token = self.headers.get("Authorization", "").partition(" ")
        held = base64.urlsafe_b64decode(token or "").decode() if kind == "Bearer" else None
        if held is None or not held.startswith(wanted):
            here = "http://127.0.0.1:%d/token" % self.server.server_port
            challenge = 'Bearer realm="%s",service="registry.test"' % here
            if wanted:
                challenge += ',scope="%s"' % wanted
            return self.answer(401, [("WWW-Authenticate", challenge)], b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}')
        link = http.client.HTTPConnection("127.0.0.1", upstream)
        # Of several lines of one name all count.
        headers = {name: ", ".join(self.headers.get_all(name, [])) for name in ("Accept", "Range") if name in self.headers}
        link.request(self.command, self.path, headers=headers)
        reply = link.getresponse()
        body = reply.read()
        kept = [(k, v) for k, v in reply.getheaders() if k.lower() not in ("content-length", "transfer-encoding", "connection")]
        if self.command == "HEAD":
            self.send_response(reply.status)
            for name, value in reply.getheaders():
                self.send_header(name, value)
            self.end_headers()
        else:
            self.answer(reply.status, kept, body)
        link.close()

    do_GET = do_HEAD = go

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Gate)
print(server.server_port, flush=True)
server.serve_forever()

#!/usr/bin/env python3
"""A stand-in for the APIs that Codex CLI (Responses), Qwen Code and Copilot CLI (chat completions), and Gemini CLI speak.

usage: mock_models.py PORT-FILE COMMANDS.json LOG.jsonl

COMMANDS.json is a list of shell commands: each turn gets the next as a call of the client's own shell tool, and after the last
one a message. For Codex, one may be a list: a command that is to run outside of the sandbox, and why. LOG.jsonl gets every request. PORT-FILE gets the port, once it is listened on.
"""

import http.server
import json
import os
import sys

port_file, commands, log = sys.argv[1], json.load(open(sys.argv[2])), sys.argv[3]
USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2, "input_tokens": 1, "output_tokens": 1}


def responses(request):
    """Codex: server-sent events with a type each."""
    done = sum(item.get("type") == "function_call_output" for item in request["input"])
    if done < len(commands):
        names = [tool.get("name") for tool in request.get("tools", [])]
        command, more = commands[done], {}
        if isinstance(command, list):
            command, why = command
            more = {"sandbox_permissions": "require_escalated", "justification": why}
        name, arguments = next(
            (name, arguments)
            for name, arguments in (
                ("exec_command", {"cmd": command, **more}),
                ("shell_command", {"command": command, **more}),
                ("shell", {"command": ["bash", "-lc", command], **more}),
            )
            if name in names
        )
        item = {"type": "function_call", "id": f"fc{done}", "call_id": f"call{done}", "name": name}
        item["arguments"] = json.dumps(arguments)
    else:
        text = [{"type": "output_text", "text": "over", "annotations": []}]
        item = {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": text}
    whole = {"id": "r", "object": "response", "status": "completed", "output": [item], "usage": USAGE}
    events = [
        {"type": "response.created", "response": {"id": "r", "status": "in_progress", "output": []}},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": whole},
    ]
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)


def completions(request):
    """Qwen Code and Copilot CLI: chunks of a message."""
    done = sum(message.get("role") == "tool" for message in request["messages"])
    if request.get("tools") and done < len(commands):
        arguments = {"command": commands[done], "is_background": False, "description": "x"}
        names = [tool["function"]["name"] for tool in request["tools"]]
        name = "bash" if "bash" in names else "run_shell_command"
        function = {"name": name, "arguments": json.dumps(arguments)}
        call = {"index": 0, "id": f"c{done}", "type": "function", "function": function}
        delta, reason = {"role": "assistant", "content": None, "tool_calls": [call]}, "tool_calls"
    else:
        delta, reason = {"role": "assistant", "content": "over"}, "stop"
    chunk = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    if not request.get("stream"):
        choice = {"index": 0, "message": delta, "finish_reason": reason}
        return json.dumps({**chunk, "object": "chat.completion", "choices": [choice], "usage": USAGE})
    chunks = [
        {**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]},
        {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]},
        {**chunk, "choices": [], "usage": USAGE},
    ]
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"


def gemini(request, streams):
    """Gemini CLI: candidates."""
    parts = [part for content in request.get("contents", []) for part in content.get("parts", [])]
    done = sum("functionResponse" in part for part in parts)
    if request.get("tools") and done < len(commands):
        arguments = {"command": commands[done], "description": "x"}
        part = {"functionCall": {"name": "run_shell_command", "args": arguments}}
    else:
        part = {"text": "over"}
    usage = {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}
    candidate = {"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0}
    reply = json.dumps({"candidates": [candidate], "usageMetadata": usage, "modelVersion": "m"})
    return f"data: {reply}\r\n\r\n" if streams else reply


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.answer(json.dumps({"models": [], "data": []}))

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with open(log, "a") as out:
            out.write(json.dumps(request) + "\n")
        if self.path.endswith("/responses"):
            self.answer(responses(request))
        elif self.path.endswith("/chat/completions"):
            self.answer(completions(request))
        elif "countTokens" in self.path:
            self.answer(json.dumps({"totalTokens": 1}))
        else:
            self.answer(gemini(request, "stream" in self.path))

    def answer(self, text):
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json" if text[:1] == "{" else "text/event-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
with open(port_file + ".new", "w") as out:
    out.write(str(server.server_address[1]))
os.rename(port_file + ".new", port_file)
server.serve_forever()

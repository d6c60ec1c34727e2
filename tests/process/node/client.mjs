// A client with the package ws.  Reads a plan from standard input, and prints what it saw, both
// as JSON:
//
//   {"url": ..., "options": {...}, "send": [TEXT or {"base64": ...}, ...], "until": COUNT}
//   {"messages": [...], "extensions": ..., "close": {"code": ..., "reason": ...}, "refused": STATUS}
//
// It sends all of "send", and closes with 1000 when it has COUNT messages; without "until" it
// stays until the server closes.

import { readFileSync } from "node:fs";
import WebSocket from "ws";

const plan = JSON.parse(readFileSync(0, "utf8"));
const seen = { messages: [], extensions: null, close: null, refused: null, error: null };
const socket = new WebSocket(plan.url, plan.options);

socket.on("open", () => {
  seen.extensions = socket.extensions;
  for (const message of plan.send) {
    const isText = typeof message === "string";
    socket.send(isText ? message : Buffer.from(message.base64, "base64"));
  }
});

socket.on("message", (data, isBinary) => {
  seen.messages.push(isBinary ? { base64: data.toString("base64") } : data.toString());
  if (seen.messages.length === plan.until) {
    socket.close(1000, "enough");
  }
});

socket.on("unexpected-response", (request, response) => {
  seen.refused = response.statusCode;
  request.destroy();
});

socket.on("close", (code, reason) => {
  seen.close = { code, reason: reason.toString() };
});

socket.on("error", (error) => {
  seen.error = error.message;
});

// Not at "exit", when it is too late to write more than a pipe holds.
process.once("beforeExit", () => {
  console.log(JSON.stringify(seen));
});

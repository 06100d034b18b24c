// A client made of Node.js's ws: sends all messages at once and reads as many back.
//
//     node ws_client.mjs URL < messages > answers
//
// Messages and answers are JSON: a list of strings (text) and {"binary": base64}.

import { readFileSync } from "node:fs";
import WebSocket from "ws";

const messages = JSON.parse(readFileSync(0, "utf-8"));
const answers = [];
const socket = new WebSocket(process.argv[2]);

socket.on("open", () => {
  for (const message of messages) {
    socket.send(
      typeof message === "string" ? message : Buffer.from(message.binary, "base64"),
    );
  }
});
socket.on("message", (data, isBinary) => {
  answers.push(isBinary ? { binary: data.toString("base64") } : data.toString("utf-8"));
  if (answers.length === messages.length) {
    socket.close(1000);
  }
});
socket.on("error", (error) => {
  console.error(error);
  process.exitCode = 1;
});
socket.on("close", (code, reason) => {
  if (code !== 1000) {
    console.error(`closed with ${code} ${reason}`);
    process.exitCode = 1;
  }
  console.log(JSON.stringify(answers));
});

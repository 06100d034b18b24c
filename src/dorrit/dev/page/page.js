"use strict";

// What came over the wire is shown with textContent only: it is never parsed as HTML.

const MAX_ROWS = 500;
const MAX_SHOWN_TEXT = 300; // UTF-16 units
const MAX_SHOWN_BYTES = 64;

// RFC 6455 section 7.4.1, and the IANA registry for those above 1011.
const CLOSE_CODES = new Map([
  [1000, "normal closure"],
  [1001, "going away"],
  [1002, "protocol error"],
  [1003, "unsupported data"],
  [1005, "no status received"],
  [1006, "abnormal closure: no close frame came"],
  [1007, "invalid payload data"],
  [1008, "policy violation"],
  [1009, "message too big"],
  [1010, "mandatory extension"],
  [1011, "internal error"],
  [1012, "service restart"],
  [1013, "try again later"],
]);

const element = (id) => document.getElementById(id);

let socket = null;
let forgotten = 0; // rows
let isFollowing = true; // who has scrolled back to read shall not be pulled away

function showStatus(text, lamp) {
  element("status").textContent = text;
  element("lamp").className = lamp;
  const state = socket === null ? WebSocket.CLOSED : socket.readyState;
  element("connect").disabled = state !== WebSocket.CLOSED;
  element("disconnect").disabled = state === WebSocket.CLOSED || state === WebSocket.CLOSING;
  element("url").disabled = state !== WebSocket.CLOSED;
  element("send").disabled = state !== WebSocket.OPEN;
  element("generate").disabled = state !== WebSocket.OPEN;
}

function now() {
  const date = new Date();
  const part = (value, width) => String(value).padStart(width, "0");
  const clock = [date.getHours(), date.getMinutes(), date.getSeconds()];
  return clock.map((value) => part(value, 2)).join(":") + "." + part(date.getMilliseconds(), 3);
}

function addRow(direction, kind, size, content, look) {
  const row = document.createElement("tr");
  row.className = look;
  const cells = [
    ["time", now()],
    ["direction", direction],
    ["kind", kind],
    ["number", size === null ? "" : size.toLocaleString("en")],
    ["content", content],
  ];
  for (const [name, text] of cells) {
    const cell = document.createElement("td");
    cell.className = name;
    cell.textContent = text;
    row.append(cell);
  }
  const log = element("log");
  log.append(row);
  while (log.rows.length > MAX_ROWS) {
    log.deleteRow(0);
    forgotten += 1;
  }
  element("log-note").textContent =
    forgotten === 0 ? "" : `the last ${MAX_ROWS} rows; ${forgotten.toLocaleString("en")} older ones are gone`;
  if (isFollowing) {
    element("log-frame").scrollTop = element("log-frame").scrollHeight;
  }
}

function addEvent(content, isFailure = false) {
  addRow("", "event", null, content, isFailure ? "event failed" : "event");
}

function cutText(text) {
  return text.length <= MAX_SHOWN_TEXT ? text : text.slice(0, MAX_SHOWN_TEXT) + " … (cut)";
}

function cutBytes(bytes) {
  const shown = bytes.subarray(0, MAX_SHOWN_BYTES);
  const hex = Array.from(shown, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
  return bytes.length <= MAX_SHOWN_BYTES ? hex : hex + " … (cut)";
}

function addMessage(direction, look, data) {
  if (typeof data === "string") {
    addRow(direction, "text", new Blob([data]).size, cutText(data), look);
  } else {
    const bytes = new Uint8Array(data);
    addRow(direction, "binary", bytes.length, cutBytes(bytes), look);
  }
}

function connect(url) {
  let current;
  try {
    current = new WebSocket(url);
  } catch (error) {
    addEvent(error.message, true);
    showStatus(error.message, "failed");
    return;
  }
  socket = current;
  current.binaryType = "arraybuffer";
  current.addEventListener("open", () => {
    addEvent(`connected to ${url}`);
    showStatus(`Connected to ${url}`, "open");
    element("text").focus();
  });
  current.addEventListener("message", (event) => addMessage("received", "received", event.data));
  current.addEventListener("close", (event) => {
    if (socket !== current) {
      return; // given up before
    }
    const meaning = CLOSE_CODES.get(event.code);
    const code = meaning === undefined ? String(event.code) : `${event.code}, ${meaning}`;
    const reason = event.reason === "" ? "no reason" : `reason “${event.reason}”`;
    const isFailure = event.code !== 1000 && event.code !== 1001 && event.code !== 1005;
    socket = null;
    addEvent(`closed: ${code}; ${reason}`, isFailure);
    showStatus(`Closed: ${code}; ${reason}`, isFailure ? "failed" : "");
  });
  showStatus(`Connecting to ${url}`, "waiting");
}

function send(data) {
  if (socket === null || socket.readyState !== WebSocket.OPEN) {
    return false;
  }
  socket.send(data);
  addMessage("sent", "sent", data);
  return true;
}

function bytesOfHex(text) {
  const digits = text.replace(/\s+/g, "");
  if (digits.length % 2 !== 0 || /[^0-9a-f]/i.test(digits)) {
    return null;
  }
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

function payloadOf(text, kind) {
  if (kind === "hex") {
    return bytesOfHex(text);
  }
  return kind === "utf-8" ? new TextEncoder().encode(text) : text;
}

function generated(size, kind) {
  if (kind === "binary") {
    return Uint8Array.from({ length: size }, (_, index) => index & 255);
  }
  return "0123456789".repeat(Math.ceil(size / 10)).slice(0, size);
}

element("connection").addEventListener("submit", (event) => {
  event.preventDefault();
  if (socket === null) {
    connect(element("url").value.trim());
  }
});

element("disconnect").addEventListener("click", () => {
  if (socket !== null) {
    socket.close(1000);
    showStatus("Closing", "waiting");
  }
});

element("message").addEventListener("submit", (event) => {
  event.preventDefault();
  const payload = payloadOf(element("text").value, element("kind").value);
  const isWrong = payload === null;
  element("text").setAttribute("aria-invalid", String(isWrong));
  element("text-problem").textContent = isWrong ? "Not hex: pairs of 0-9 and a-f, with or without spaces." : "";
  if (!isWrong && send(payload)) {
    element("text").select();
  }
});

element("generated").addEventListener("submit", (event) => {
  event.preventDefault();
  send(generated(element("size").valueAsNumber, element("generated-kind").value));
});

element("log-frame").addEventListener("scroll", (event) => {
  const frame = event.currentTarget;
  isFollowing = frame.scrollTop + frame.clientHeight >= frame.scrollHeight - 8;
});

element("clear").addEventListener("click", () => {
  element("log").replaceChildren();
  forgotten = 0;
  element("log-note").textContent = "";
});

document.addEventListener("securitypolicyviolation", (event) => {
  const text = `the browser blocked ${event.blockedURI}: this page connects to its own front only`;
  addEvent(text, true);
  // Chromium closes a socket that the policy has blocked without a close event, and tells of it here
  // before the constructor has returned.
  setTimeout(() => {
    if (socket !== null && socket.readyState !== WebSocket.OPEN) {
      socket = null;
      showStatus(text[0].toUpperCase() + text.slice(1), "failed");
    }
  });
});

element("url").value = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/`;
showStatus("Not connected", "");

// The socket to the runtime. Whatever is not fresh counts as rest; the page decides that by itself.

const FRESH_MS = 200;
const RETRY_MS = 500;

export class Link {
  constructor(onNews) {
    this.onNews = onNews;
    this.isOpen = false;
    this.everOpen = false;
    this.intent = 0;
    this.sequence = -1;
    this.rest = true;
    this.heardMs = -Infinity;
    this.status = { state: "", cue: "", message: "" };
    this.leastLagMs = Infinity;
    this.lagMs = 0;
    this.token = new URLSearchParams(location.search).get("token") ?? "";
    this.connect();
  }

  connect() {
    const secure = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${secure}://${location.host}/socket?token=${encodeURIComponent(this.token)}`);
    this.socket = socket;
    socket.onopen = () => {
      this.isOpen = this.everOpen = true;
      this.leastLagMs = Infinity;
      this.onNews();
    };
    socket.onclose = () => {
      this.isOpen = false;
      this.heardMs = -Infinity;
      this.onNews();
      setTimeout(() => this.connect(), RETRY_MS);
    };
    socket.onmessage = (event) => this.hear(JSON.parse(event.data));
  }

  hear(message) {
    const now = performance.now();
    // The quickest message so far tells how far the clocks are apart; what lags behind it was held up on the way.
    // The slow growth follows clocks that drift (0.1 ms per s is far more than they do).
    const lag = now - message.at * 1000;
    this.leastLagMs = Math.min(lag, this.leastLagMs + 1e-4 * Math.max(0, now - (this.lagSeenMs ?? now)));
    this.lagSeenMs = now;
    this.lagMs = lag - this.leastLagMs;
    if (message.kind === "ping") {
      this.post({ kind: "pong", id: message.id });
    } else if (message.kind === "intent") {
      this.rest = message.rest;
      if (this.lagMs > FRESH_MS && !message.rest) return;
      this.intent = message.rest ? 0 : message.intent;
      this.sequence = message.sequence;
      this.heardMs = message.rest ? -Infinity : now - this.lagMs;
    } else if (message.kind === "status") {
      this.status = message;
    }
    this.onNews();
  }

  // Why the limb rests at this moment; empty where a fresh intent moves it.
  restCause(now) {
    if (!this.isOpen) return this.everOpen ? "lost" : "waiting";
    if (this.rest) return "rest";
    return now - this.heardMs > FRESH_MS ? "silent" : "";
  }

  post(message) {
    if (this.socket.readyState !== WebSocket.OPEN) return;
    this.socket.send(JSON.stringify({ at: performance.now() / 1000, ...message }));
  }

  event(code, ms = performance.now()) {
    this.post({ kind: "event", code, at: ms / 1000 });
  }
}

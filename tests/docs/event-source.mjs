// EventSource on fetch, for Node.js versions without one: what the WHATWG standard says of parsing, reconnecting
// and Last-Event-ID, so that the documents' blocks run as in a browser.

class EventSourceOnFetch extends EventTarget {
  static CONNECTING = 0;
  static OPEN = 1;
  static CLOSED = 2;

  constructor(url) {
    super();
    this.url = url;
    this.readyState = EventSourceOnFetch.CONNECTING;
    this.retry = 1000;
    this.lastEventId = "";
    this.stop = new AbortController();
    this.run();
  }

  close() {
    this.readyState = EventSourceOnFetch.CLOSED;
    this.stop.abort();
  }

  async run() {
    while (this.readyState !== EventSourceOnFetch.CLOSED) {
      try {
        await this.connect();
      } catch (error) {
        if (this.readyState === EventSourceOnFetch.CLOSED) return;
      }
      if (this.readyState !== EventSourceOnFetch.CLOSED) this.readyState = EventSourceOnFetch.CONNECTING;
      this.dispatchEvent(new Event("error"));
      await new Promise((resolve) => setTimeout(resolve, this.retry));
    }
  }

  async connect() {
    const headers = { Accept: "text/event-stream" };
    if (this.lastEventId) headers["Last-Event-ID"] = this.lastEventId;
    const answer = await fetch(this.url, { headers, cache: "no-store", signal: this.stop.signal });
    if (answer.status !== 200 || !answer.headers.get("content-type")?.startsWith("text/event-stream")) {
      this.close();
      return;
    }
    this.readyState = EventSourceOnFetch.OPEN;
    this.dispatchEvent(new Event("open"));
    let rest = "";
    for await (const piece of answer.body.pipeThrough(new TextDecoderStream())) {
      const blocks = (rest + piece).split(/\r?\n\r?\n/);
      rest = blocks.pop();
      for (const block of blocks) this.read(block);
    }
  }

  read(block) {
    let name = "message";
    const data = [];
    for (const line of block.split(/\r?\n/)) {
      const [, field, value] = /^([^:]*):? ?(.*)$/.exec(line);
      if (field === "event") name = value;
      else if (field === "data") data.push(value);
      else if (field === "id") this.lastEventId = value;
      else if (field === "retry") this.retry = Number(value);
    }
    if (data.length === 0) return;
    this.dispatchEvent(new MessageEvent(name, { data: data.join("\n"), lastEventId: this.lastEventId }));
  }
}

globalThis.EventSource ??= EventSourceOnFetch;

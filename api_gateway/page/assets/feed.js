// A live feed: one EventSource that comes back by itself, rests while nobody looks, and says how it is doing.

const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 15_000;
const REST_AFTER_MS = 20_000;

/**
 * States given to `onState(state, message)`: "connecting", "live", "reconnecting", "unavailable".
 *
 * `onData(kind, data)` gets each "snapshot" and "change", `onGone()` the end of what was followed. Before the feed
 * opens itself anew it awaits `check()`, where there is one, and stops when that is false: an EventSource does not
 * tell a refusal (404) from a failure.
 */
export class Feed {
  #path;
  #query;
  #handlers;
  #source = null;
  #lastId = "";
  #state = "";
  #failures = 0;
  #timer = 0;
  #resting = 0;
  #stopped = false;
  #seen;

  constructor(path, query, handlers) {
    this.#path = path;
    this.#query = query;
    this.#handlers = handlers;
    this.#seen = () => this.#look();
    document.addEventListener("visibilitychange", this.#seen);
    addEventListener("online", this.#seen);
    this.#say("connecting");
    this.#open();
  }

  close() {
    this.#stopped = true;
    this.#end();
    clearTimeout(this.#resting);
    document.removeEventListener("visibilitychange", this.#seen);
    removeEventListener("online", this.#seen);
  }

  #open() {
    this.#end();
    const url = new URL(this.#path, location.origin);
    for (const [name, value] of Object.entries(this.#query)) url.searchParams.set(name, value);
    if (this.#lastId) url.searchParams.set("last_event_id", this.#lastId);
    const source = new EventSource(url);
    this.#source = source;
    source.onopen = () => {
      this.#failures = 0;
      // Nothing is sent when nothing has changed since: being connected again is all the news.
      if (this.#lastId) this.#say("live");
    };
    source.onerror = () => this.#failed(source);
    for (const kind of ["snapshot", "change"]) {
      source.addEventListener(kind, (event) => {
        this.#lastId = event.lastEventId;
        this.#say("live");
        this.#handlers.onData(kind, JSON.parse(event.data));
      });
    }
    source.addEventListener("unavailable", (event) => this.#say("unavailable", JSON.parse(event.data).message));
    source.addEventListener("gone", () => {
      this.close();
      this.#handlers.onGone?.();
    });
  }

  #end() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
  }

  #failed(source) {
    this.#say("reconnecting");
    if (source.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
    this.#end();
    const wait = Math.min(FIRST_WAIT_MS * 2 ** this.#failures, LONGEST_WAIT_MS);
    this.#failures += 1;
    // Spread: every page lost its stream in the same moment.
    this.#timer = setTimeout(() => this.#again(), wait * (0.75 + Math.random() / 2));
  }

  async #again() {
    const go = (await this.#handlers.check?.()) ?? true;
    if (this.#stopped) return;
    if (go) this.#open();
    else this.close();
  }

  #look() {
    clearTimeout(this.#resting);
    if (document.hidden) {
      // A browser grants an origin few connections at a time: pages in the background must not hold them.
      this.#resting = setTimeout(() => this.#end(), REST_AFTER_MS);
    } else if (this.#source?.readyState !== EventSource.OPEN) {
      this.#say("reconnecting");
      this.#open();
    }
  }

  #say(state, message = "") {
    if (this.#stopped || (state === this.#state && state !== "unavailable")) return;
    this.#state = state;
    this.#handlers.onState?.(state, message);
  }
}

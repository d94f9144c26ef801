// Draws what is known of one player: rank, percentile, score and neighbours; says now and then where it stands.

import { announce, byId, closed, isolated, make, setText, whole } from "./dom.js";
import { glide } from "./glide.js";
import { metadataText, scoreOf } from "./scores.js";

const TALK_EVERY_MS = 10_000;

export class Card {
  #element = byId("player");
  #last = null;
  #parts = null;
  #timer = 0;
  #spokenAt = 0;
  #spokenRank = null;
  #onClose;

  /** `onClose()` is called when the user has seen enough. */
  constructor(onClose) {
    this.#onClose = onClose;
  }

  /** Shows nobody. */
  hide() {
    this.#last = null;
    this.#element.hidden = true;
    this.#element.replaceChildren();
    this.speakAnew();
  }

  /** Says where the player stands with the next drawing, whatever was said before. */
  speakAnew() {
    this.#spokenRank = null;
  }

  /** Shows that what is drawn may be old. */
  set stale(on) {
    this.#element.classList.toggle("stale", on);
  }

  /** Draws the data of a /stream/rank event. */
  draw(data, board) {
    if (this.#last === null) {
      this.#element.replaceChildren(...this.#frame());
      this.#element.hidden = false;
    }
    const { self } = data;
    const parts = this.#parts;
    this.#last = { ...data, on: board.heading ? `${closed(board.heading)}, ${data.region}` : data.region };
    setText(parts.name, self.name);
    setText(parts.home, `· ${self.region}`);
    setText(parts.board, `Rank on ${data.region}`);
    setText(parts.on, board.heading);
    parts.on.parentElement.hidden = board.heading === "";
    setText(parts.id, self.user_id);
    const said = metadataText(self);
    setText(parts.metadata, said);
    parts.metadata.title = said;
    parts.metadata.hidden = said === "";
    setText(parts.rank, whole(self.rank));
    setText(parts.total, `of ${whole(data.total)}`);
    setText(parts.percentile, percent(self.percentile));
    setText(parts.score, scoreOf(self));
    parts.meter.style.setProperty("--share", (self.percentile / 100).toFixed(4));
    const rows = [...data.around, self].sort((one, other) => one.position - other.position);
    glide(parts.list, () => this.#place(rows, self));
    this.#talk();
  }

  #place(rows, self) {
    const drawn = new Map(Array.from(this.#parts.list.children, (item) => [item.dataset.userId, item]));
    const items = rows.map((row) => {
      const item = drawn.get(row.user_id) ?? this.#neighbour(row.user_id);
      const [rank, name, score] = item.children;
      setText(rank, whole(row.rank));
      setText(name.firstElementChild, row.name);
      name.title = row.name;
      setText(score, scoreOf(row));
      item.classList.toggle("followed", row.user_id === self.user_id);
      return item;
    });
    this.#parts.list.replaceChildren(...items);
  }

  #neighbour(userId) {
    const parts = [
      make("span", "place number"),
      make("span", "one-line", [isolated("")]),
      make("span", "score number"),
    ];
    const item = make("li", "neighbour", parts);
    item.dataset.userId = userId;
    return item;
  }

  #frame() {
    const parts = {
      name: isolated(""),
      id: isolated(""),
      home: make("span"),
      on: isolated(""),
      board: make("dt"),
      metadata: make("p", "quiet small one-line"),
      rank: make("span"),
      total: make("span", "quiet"),
      percentile: make("dd", "figure number"),
      score: make("dd", "figure number"),
      meter: make("div", "meter", [make("span")], { "aria-hidden": "true" }),
      list: make("ol", "neighbours", [], { "aria-label": "Neighbours on the board" }),
    };
    this.#parts = parts;
    const close = make("button", "link-button small", "Stop following", { type: "button" });
    close.addEventListener("click", () => this.#onClose());
    const who = [
      make("p", "player-name one-line", [parts.name]),
      make("p", "quiet small player-id", [make("span", "one-line", [parts.id]), parts.home]),
      make("p", "quiet small one-line player-board", ["On ", parts.on]),
      parts.metadata,
    ];
    const figures = [
      make("div", "", [parts.board, make("dd", "figure number", [parts.rank, " ", parts.total])]),
      make("div", "", [make("dt", "", "Percentile"), parts.percentile]),
      make("div", "", [make("dt", "", "Score"), parts.score]),
    ];
    return [
      make("div", "player-head", [make("div", "who", who), close]),
      make("dl", "figures", figures),
      parts.meter,
      parts.list,
    ];
  }

  // Ranks can change several times a second: where the player stands is said now and then, and in the end.
  #talk() {
    const wait = this.#spokenRank === null ? 0 : this.#spokenAt + TALK_EVERY_MS - performance.now();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(
      () => {
        if (this.#last === null || this.#last.self.rank === this.#spokenRank) return;
        const { self, total, on } = this.#last;
        this.#spokenRank = self.rank;
        this.#spokenAt = performance.now();
        const where = `rank ${whole(self.rank)} of ${whole(total)} on ${on}`;
        announce(`${self.name}: ${where}, percentile ${percent(self.percentile)}`);
      },
      Math.max(0, wait),
    );
  }
}

/** 100 only for who really is at the top, and never more digits than say something. */
function percent(value) {
  if (value === 100) return "100";
  return (Math.floor(value * 100) / 100).toFixed(value >= 99.9 ? 2 : 1);
}

// The boards that there are: asked for now and then, and chosen from a picker once there is more than main.

import { call } from "./api.js";
import { byId, closed, make, storage } from "./dom.js";

export const MAIN = "main";
const CALM_MS = 60_000;
const FRESH_MS = 2000;
const PAUSE_MS = 2000;
const lastBoards = storage("localStorage", "leaderboard.boards");

// What main is until somebody says otherwise.
const BEGINNING = {
  board: MAIN,
  definition: {
    title: "",
    operator: "latest",
    order: "desc",
    regions: true,
    decimals: 0,
    submit: "player",
    open: true,
  },
};

/** What a call is told of a ranking; main goes without saying. */
export const placeOf = (board, region) => (board.name === MAIN ? { region } : { board: board.name, region });

/**
 * Each board is `{name, label, heading, rules}`. The label is what people call it, and only ever text; the heading is
 * that too, or empty for a main board that nobody has given a title.
 */
export class Boards {
  #known = new Map();
  #picker = byId("board-pick");
  #onNews;
  #turn = 0;
  #asking = null;
  #askedAt = -Infinity;
  #timer = 0;

  /** Whether the server has said which boards there are; until then those of the last visit are known. */
  heard = false;

  /** `onPick(name)` is called when the user chooses a board, `onNews()` whenever the server has said what there is. */
  constructor({ onPick, onNews }) {
    this.#onNews = onNews;
    this.#picker.addEventListener("change", () => onPick(this.#picker.value));
    for (const kind of ["pointerdown", "focus"]) this.#picker.addEventListener(kind, () => this.#refresh());
    document.addEventListener("visibilitychange", () => this.#refresh());
    this.#learn([BEGINNING]);
    this.#learn(lastBoards.read() ?? []);
  }

  get(name) {
    return this.#known.get(name);
  }

  /** Marks a board as the chosen one. */
  choose(name) {
    this.#picker.value = name;
  }

  /** Asks which boards there are, and goes on asking. Returns whether there was an answer. */
  ask() {
    this.#asking = this.#ask();
    return this.#asking;
  }

  async #ask() {
    this.#turn += 1;
    const turn = this.#turn;
    this.#askedAt = performance.now();
    clearTimeout(this.#timer);
    let found = null;
    try {
      found = await all();
    } catch {
      // What is known stays: the boards themselves say how they are.
    }
    if (turn !== this.#turn) return this.#asking; // somebody wanted newer news meanwhile
    // Spread, and only once in a while: every open page asks.
    const wait = found === null && !this.heard ? PAUSE_MS : CALM_MS * (0.75 + Math.random() / 2);
    this.#timer = setTimeout(() => this.#refresh(), wait);
    if (found === null) return false;
    this.heard = true;
    lastBoards.write(found);
    this.#known = new Map();
    this.#learn([BEGINNING, ...found]);
    this.#onNews();
    return true;
  }

  #refresh() {
    if (!document.hidden && performance.now() - this.#askedAt >= FRESH_MS) this.ask();
  }

  #learn(found) {
    for (const { board: name, definition } of found) {
      const title = definition.title.trim();
      const heading = title || (name === MAIN ? "" : name);
      this.#known.set(name, { name, label: title || name, heading, rules: definition });
    }
    this.#offer();
  }

  #offer() {
    const boards = [...this.#known.values()];
    const labels = boards.map(({ label }) => label);
    const texts = new Map();
    for (const { name, label } of boards) {
      const alone = labels.indexOf(label) === labels.lastIndexOf(label);
      texts.set(name, alone ? label : `${closed(label)} (${name})`);
    }
    boards.sort((one, other) => (other.name === MAIN) - (one.name === MAIN) || one.label.localeCompare(other.label));
    const shown = Array.from(this.#picker.options, (option) => `${option.value} ${option.textContent}`);
    const options = boards.map(({ name }) => make("option", "", texts.get(name), { value: name, dir: "auto" }));
    // An open list keeps its place as long as nothing is new.
    if (options.map((option) => `${option.value} ${option.textContent}`).join("\n") !== shown.join("\n")) {
      const chosen = this.#picker.value;
      this.#picker.replaceChildren(...options);
      this.#picker.value = this.#known.has(chosen) ? chosen : MAIN;
    }
    byId("boards").hidden = boards.length < 2;
  }
}

async function all() {
  const boards = [];
  let cursor = null;
  do {
    const page = await call("GET", "/boards", { query: cursor === null ? {} : { cursor } });
    boards.push(...page.boards);
    cursor = page.next_cursor;
  } while (cursor !== null);
  return boards;
}

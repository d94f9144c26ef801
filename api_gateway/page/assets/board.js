// Draws a board: one table row per player, kept while the player stays, so that it can move.

import { MAIN } from "./boards.js";
import { byId, closed, counted, isolated, make, setText, whole } from "./dom.js";
import { glide } from "./glide.js";
import { shareOf } from "./rows.js";
import { metadataText, scoreOf } from "./scores.js";

const RISE_SHOWN_MS = 6000;
const LONG_SCORE = 11; // characters
const FLASH = { duration: 1400, easing: "ease-out" };

export class Board {
  #body = byId("rows").tBodies[0];
  #drawn = new Map();
  #board = null;
  #followed = "";
  #onPick;

  /** `onPick(userId)` is called when a player in the board is chosen. */
  constructor(onPick) {
    this.#onPick = onPick;
    this.#clear();
  }

  /** Shows that a board is on its way. */
  wait(board, region) {
    this.title(board);
    byId("region").textContent = region;
    byId("rows").classList.toggle("one-region", region !== "GLOBAL");
    this.#clear();
  }

  /** Shows what the board is called now. */
  title(board) {
    this.#board = board;
    byId("board-name").hidden = board.heading === "";
    setText(byId("board-name"), board.heading);
    byId("board-name").title = board.heading;
    for (const element of document.querySelectorAll(".of-main")) element.hidden = board.name !== MAIN;
    for (const element of document.querySelectorAll(".of-others")) element.hidden = board.name === MAIN;
    setText(byId("seed-board"), `leaderboard seed 1000 --board ${board.name}`);
  }

  #clear() {
    this.#drawn.clear();
    this.#body.replaceChildren(...Array.from({ length: 8 }, placeholder));
    byId("rows").ariaBusy = "true";
    byId("rows").hidden = false;
    byId("empty").hidden = true;
    byId("total").textContent = "";
  }

  /** Draws the board; rows that stay move to their new places. */
  draw({ region, total, rows }) {
    const first = byId("rows").ariaBusy === "true";
    if (first) this.#body.replaceChildren();
    setText(byId("total"), counted(total, "player", "players"));
    const { heading } = this.#board;
    const on = heading && ` on ${closed(heading)}`;
    setText(byId("caption"), `The best players of ${region}${on}, live`);
    byId("rows").ariaBusy = "false";
    byId("rows").hidden = rows.length === 0;
    byId("empty").hidden = rows.length > 0;
    // In board order the longest score is the first or the last.
    const ends = [rows.at(0), rows.at(-1)].map((row) => (row === undefined ? 1 : scoreOf(row).length));
    byId("rows").style.setProperty("--longest", Math.max(...ends));
    const change = () => this.#place(rows, first);
    if (first) change();
    else glide(this.#body, change);
  }

  /** Marks a player's row, now and whenever it appears; none for an empty id. */
  follow(userId) {
    this.#drawn.get(this.#followed)?.follow(false);
    this.#followed = userId;
    this.#drawn.get(userId)?.follow(true);
  }

  #place(rows, first) {
    const { order } = this.#board.rules;
    const focused = document.activeElement;
    const wanted = new Set(rows.map((row) => row.user_id));
    for (const [userId, drawn] of this.#drawn) {
      if (wanted.has(userId)) continue;
      drawn.element.remove();
      this.#drawn.delete(userId);
    }
    const names = new Map();
    for (const { name } of rows) names.set(name, (names.get(name) ?? 0) + 1);
    let next = this.#body.firstElementChild;
    for (const row of rows) {
      let drawn = this.#drawn.get(row.user_id);
      if (drawn === undefined) {
        drawn = new DrawnRow(row, () => this.#onPick(row.user_id));
        drawn.follow(row.user_id === this.#followed);
        this.#drawn.set(row.user_id, drawn);
      }
      if (drawn.element === next) next = next.nextElementSibling;
      else this.#body.insertBefore(drawn.element, next);
      const share = shareOf(row.score, rows[0].score, order);
      drawn.update(row, share, { first, namesake: names.get(row.name) > 1 });
    }
    // A row that is put elsewhere loses the focus that it had.
    if (focused !== document.activeElement && this.#body.contains(focused)) focused.focus({ preventScroll: true });
  }
}

class DrawnRow {
  element = make("tr", "row", [], { role: "row" });
  #rank = make("span", "place number");
  #rise = make("span", "rise number", [], { hidden: "" });
  #name = isolated("");
  #id = make("span", "id one-line");
  #metadata = make("span", "metadata one-line");
  #pick = make("button", "name one-line", [this.#name], { type: "button" });
  #home = make("td", "home", "", { role: "cell" });
  #score = make("td", "score number", "", { role: "cell" });
  #shown = null;
  #riseFrom = 0;
  #timer = 0;

  constructor(row, onPick) {
    this.#id.append(isolated(row.user_id));
    this.#pick.addEventListener("click", onPick);
    this.element.dataset.userId = row.user_id;
    this.element.append(
      make("td", "rank", [this.#rank, this.#rise], { role: "cell" }),
      make("th", "who", [this.#pick, this.#id, this.#metadata], { role: "rowheader", scope: "row" }),
      this.#home,
      this.#score,
    );
  }

  follow(on) {
    this.element.classList.toggle("followed", on);
    if (on) this.#pick.setAttribute("aria-current", "true");
    else this.#pick.removeAttribute("aria-current");
  }

  /** Its id is shown only beside another player of that name: whom it belongs to is nobody else's business. */
  update(row, share, { first, namesake }) {
    const before = this.#shown;
    this.#shown = row;
    setText(this.#rank, whole(row.rank));
    this.element.dataset.medal = row.rank <= 3 ? row.rank : "";
    setText(this.#name, row.name);
    this.#pick.title = row.name;
    this.#id.hidden = !namesake;
    const said = metadataText(row);
    setText(this.#metadata, said);
    this.#metadata.title = said;
    this.#metadata.hidden = said === "";
    setText(this.#home, row.region);
    const score = scoreOf(row);
    setText(this.#score, score);
    this.element.classList.toggle("long-score", score.length > LONG_SCORE);
    this.element.style.setProperty("--share", share.toFixed(4));
    if (before === null) this.#riseFrom = row.rank;
    else this.#showRise(before, row);
    if (!first && before?.score !== row.score) this.#flash();
  }

  // Rises within a few seconds add up. Falling is not shown: it is somebody else's rise, and there is always plenty.
  #showRise(before, row) {
    if (row.rank === before.rank) return;
    const places = this.#riseFrom - row.rank;
    clearTimeout(this.#timer);
    this.#rise.hidden = places <= 0;
    if (places <= 0) {
      this.#riseFrom = row.rank;
      return;
    }
    this.#rise.replaceChildren(make("span", "for-readers", "up "), whole(places));
    this.#timer = setTimeout(() => {
      this.#rise.hidden = true;
      this.#riseFrom = this.#shown.rank;
    }, RISE_SHOWN_MS);
  }

  #flash() {
    const style = getComputedStyle(this.element);
    const steps = [style.getPropertyValue("--flash"), style.backgroundColor];
    this.element.animate(
      steps.map((backgroundColor) => ({ backgroundColor })),
      FLASH,
    );
  }
}

function placeholder() {
  const cells = ["rank", "who", "home", "score"].map((name) =>
    make("td", name, [make("span", "bone")], { role: "cell" }),
  );
  return make("tr", "row waiting", cells, { role: "row", "aria-hidden": "true" });
}

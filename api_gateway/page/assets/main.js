// Puts the page together: which board is shown, who is followed, and what the address says about both.

import { Account } from "./account.js";
import { Admin } from "./admin.js";
import { call } from "./api.js";
import { Board } from "./board.js";
import { Boards, MAIN, placeOf } from "./boards.js";
import { announce, byId, closed, counted, isolated, setText, storage } from "./dom.js";
import { Feed } from "./feed.js";
import { Player } from "./player.js";
import { afterEvent } from "./rows.js";
import { SystemPanel } from "./system.js";
import { Tabs } from "./tabs.js";

// What stands below the board on a phone should not be far away.
const LIMITS = matchMedia("(max-width: 36rem)").matches ? [10, 25, 50, 100] : [25, 50, 100];
const PAUSE_MS = 2000;
const STATES = {
  connecting: "Connecting …",
  live: "Live",
  reconnecting: "Reconnecting …",
};
const lastRegions = storage("localStorage", "leaderboard.regions");

const asked = new URLSearchParams(location.search);
let regions = [];
let heardRegions = false;
let board = null;
let region = "";
let wish = asked.get("region")?.toUpperCase() ?? "GLOBAL"; // the region that is shown where the board has it
let limit = LIMITS[0];
let feed = null;
let current = null;
let feedState = "";

const player = new Player({
  onFollow(userId) {
    rows.follow(userId);
    showAddress();
  },
  onRegion: choose,
});
const rows = new Board((userId) => player.follow(userId));
const tabs = new Tabs(byId("tabs"), byId("panel"), choose);
const account = new Account((userId, home) => {
  if (region !== home && region !== "GLOBAL") choose(home);
  if (player.userId !== userId || !player.followed) player.follow(userId);
});
const boards = new Boards({ onPick: (name) => look(boards.get(name)), onNews: renew });
new Admin(boards, (name) => {
  if (boards.get(name)) look(boards.get(name));
  byId("board").focus();
});
byId("more").addEventListener("click", () => {
  limit = LIMITS.find((more) => more > limit) ?? limit;
  listen();
});

setRegions(lastRegions.read() ?? []);
askRegions();
boards.ask();
new SystemPanel();

// The server says which regions there are. Until it does, those of the last visit are shown.
async function askRegions() {
  let names;
  try {
    ({ regions: names } = await call("GET", "/regions"));
  } catch {
    setTimeout(askRegions, PAUSE_MS);
    return;
  }
  lastRegions.write(names);
  heardRegions = true;
  setRegions(names);
  sayWhatIsMissing();
}

function setRegions(names) {
  if (names.length === 0) return;
  regions = names;
  account.regions = names;
  if (board === null) start();
  else if (names.includes(region)) tabs.set(regionsOf(board));
  else look(board);
}

// Begins with what the address says, as soon as it is known.
function start() {
  const wanted = boards.get(asked.get("board") ?? MAIN);
  if (regions.length === 0 || (wanted === undefined && !boards.heard)) return;
  look(wanted ?? boards.get(MAIN));
  sayWhatIsMissing();
  const userId = asked.get("player");
  if (userId) player.follow(userId);
}

function sayWhatIsMissing() {
  if (board === null || !heardRegions) return;
  const [name, place] = [asked.get("board"), asked.get("region")];
  if (name !== null && !boards.get(name)) {
    say("There is no board ", isolated(name), ". This is ", isolated(board.label), ".");
  } else if (place !== null && !regions.includes(place.toUpperCase())) {
    say(`There is no board ${place}. This is ${region}.`);
  }
}

// The boards are known anew: the one that is shown may be called otherwise, or be gone.
function renew() {
  if (board === null) {
    start();
    return;
  }
  const now = boards.get(board.name);
  const another = ["order", "regions"].some((rule) => now?.rules[rule] !== board.rules[rule]);
  if (now === undefined || (another && board.name !== MAIN)) {
    leave(board);
    return;
  }
  board = now;
  rows.title(board);
  boards.choose(board.name);
  account.look(board, boards.get(MAIN));
}

function leave(deleted) {
  look(boards.get(MAIN));
  say("The board ", isolated(deleted.label), " has been deleted. This is ", isolated(board.label), ".");
}

function say(...content) {
  byId("notice").replaceChildren(...content);
}

function choose(name) {
  wish = name;
  look(board);
}

function regionsOf({ rules }) {
  return rules.regions ? regions : ["GLOBAL"];
}

function look(next) {
  const names = regionsOf(next);
  board = next;
  region = [wish, "GLOBAL"].find((name) => names.includes(name)) ?? names[0];
  say();
  limit = LIMITS[0];
  boards.choose(board.name);
  tabs.set(names);
  tabs.choose(region);
  rows.wait(board, region);
  listen();
  player.look(board, region);
  account.look(board, boards.get(MAIN));
  account.region = region;
  showAddress();
}

function listen() {
  feed?.close();
  current = null;
  const shown = board;
  const name = board.heading ? `${closed(board.heading)}, ${region}` : region;
  feed = new Feed(
    "/stream/top",
    { ...placeOf(board, region), limit, metadata: true },
    {
      onData(kind, data) {
        const first = current === null;
        if (first && kind === "change") return; // nothing to change yet: a snapshot must come first
        current = afterEvent(current, kind, data);
        rows.draw(current);
        player.seen(current.rows);
        showMore();
        showFreshness();
        if (first) announce(`${name}: ${counted(data.total, "player", "players")}`);
      },
      onState(state, message) {
        feedState = state;
        showFreshness(message);
        if (state === "reconnecting") announce("The connection is lost; trying again.");
      },
      onGone() {
        leave(shown);
        boards.ask();
      },
      async check() {
        if (shown.name !== MAIN) await boards.ask();
        return true; // a board that is gone has closed this feed by now
      },
    },
  );
}

function showFreshness(message = "") {
  const fromPostgres = feedState === "live" && current?.source === "postgres";
  byId("fresh").dataset.state = fromPostgres ? "postgres" : feedState;
  setText(
    byId("fresh").querySelector(".text"),
    fromPostgres ? "From Postgres" : (STATES[feedState] ?? "Not available"),
  );
  byId("fresh").title = fromPostgres ? "Redis is away; these are the scores that have been saved." : message;
  byId("board").classList.toggle("stale", feedState === "reconnecting" || feedState === "unavailable");
}

function showMore() {
  const next = LIMITS.find((more) => more > limit);
  byId("more").hidden = next === undefined || current.total <= limit;
  if (next !== undefined) setText(byId("more"), `Show the best ${next}`);
}

function showAddress() {
  const parameters = new URLSearchParams(placeOf(board, region));
  if (player.userId) parameters.set("player", player.userId);
  history.replaceState(null, "", `?${parameters}`);
}

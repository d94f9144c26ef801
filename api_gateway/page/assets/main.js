// Puts the page together: which board is shown, who is followed, and what the address says about both.

import { Account } from "./account.js";
import { call } from "./api.js";
import { Board } from "./board.js";
import { announce, byId, counted, setText, storage } from "./dom.js";
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
let region = "";
let limit = LIMITS[0];
let feed = null;
let current = null;
let feedState = "";

const player = new Player({
  onFollow(userId) {
    board.follow(userId);
    showAddress();
  },
  onRegion: choose,
});
const board = new Board((userId) => player.follow(userId));
const tabs = new Tabs(byId("tabs"), byId("panel"), choose);
const account = new Account((userId, home) => {
  if (region !== home && region !== "GLOBAL") choose(home);
  if (player.userId !== userId) player.follow(userId);
});
byId("more").addEventListener("click", () => {
  limit = LIMITS.find((more) => more > limit) ?? limit;
  listen();
});

setRegions(lastRegions.read() ?? []);
askRegions();
new SystemPanel();

// The server says which boards there are. Until it does, those of the last visit are shown.
async function askRegions() {
  let names;
  try {
    ({ regions: names } = await call("GET", "/regions"));
  } catch {
    setTimeout(askRegions, PAUSE_MS);
    return;
  }
  lastRegions.write(names);
  setRegions(names);
  const wanted = asked.get("region");
  const known = wanted === null || names.includes(wanted.toUpperCase());
  if (!known) setText(byId("notice"), `There is no board ${wanted}. This is ${region}.`);
}

function setRegions(names) {
  if (names.length === 0) return;
  tabs.set(names);
  account.regions = names;
  if (names.includes(region)) return;
  const wanted = asked.get("region")?.toUpperCase();
  const first = [wanted, "GLOBAL"].find((name) => names.includes(name)) ?? names[0];
  choose(first);
  const userId = asked.get("player");
  asked.delete("player");
  if (userId) player.follow(userId);
}

function choose(name) {
  region = name;
  setText(byId("notice"), "");
  limit = LIMITS[0];
  tabs.choose(name);
  board.wait(name);
  listen();
  player.board(name);
  account.region = name;
  showAddress();
}

function listen() {
  feed?.close();
  current = null;
  const shown = region;
  feed = new Feed(
    "/stream/top",
    { region, limit },
    {
      onData(kind, data) {
        const first = current === null;
        if (first && kind === "change") return; // nothing to change yet: a snapshot must come first
        current = afterEvent(current, kind, data);
        board.draw(current);
        showMore();
        showFreshness();
        if (first) announce(`${shown}: ${counted(data.total, "player", "players")}`);
      },
      onState(state, message) {
        feedState = state;
        showFreshness(message);
        if (state === "reconnecting") announce("The connection is lost; trying again.");
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
  const parameters = new URLSearchParams({ region });
  if (player.userId) parameters.set("player", player.userId);
  history.replaceState(null, "", `?${parameters}`);
}

// Follows a stream by the package named first, to the event that says "score":2, and prints what its user is given,
// each event on a line.

import { createRequire } from "node:module";
import { EventSource } from "eventsource";

const [library, url] = process.argv.slice(2);

function see(name, data, id) {
  console.log(JSON.stringify({ name, data, id }));
  if (data.includes('"score":2')) process.exit(0);
}

if (library === "eventsource") {
  const source = new EventSource(url);
  for (const name of ["message", "snapshot", "change"]) {
    source.addEventListener(name, (event) => see(event.type, event.data, event.lastEventId));
  }
} else {
  globalThis.window = globalThis; // it is made for pages
  const { fetchEventSource } = createRequire(import.meta.url)("@microsoft/fetch-event-source");
  await fetchEventSource(url, { openWhenHidden: true, onmessage: (event) => see(event.event, event.data, event.id) });
}

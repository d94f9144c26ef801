// Makes elements. Whatever a player chose is put in as text; nothing here takes markup.

/** An element with a class, a text (or child nodes), and attributes. */
export function make(tag, className = "", content = [], attributes = {}) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (typeof content === "string") element.textContent = content;
  else element.append(...content);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

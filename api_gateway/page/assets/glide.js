// Lets elements glide to their new places (FLIP: measure, change, measure again, play the difference backwards).

const GLIDE = { duration: 520, easing: "cubic-bezier(0.22, 0.8, 0.24, 1)" };
const APPEAR = { duration: 320, easing: "ease-out" };
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const running = new WeakMap();

/** Changes the order of `parent`'s children by `change()`, and lets each of them glide from where it was seen. */
export function glide(parent, change) {
  if (calm.matches || document.hidden) {
    change();
    return;
  }
  const before = places(parent);
  change();
  for (const child of parent.children) running.get(child)?.cancel();
  // All measuring before all playing: each alternation would cost a layout.
  const after = places(parent);
  for (const [child, top] of after) {
    const from = before.get(child);
    if (from === undefined) {
      play(child, [{ opacity: 0 }, { opacity: 1 }], APPEAR);
    } else if (Math.abs(from - top) >= 1) {
      // Who rises passes in front of who falls.
      const layer = from > top ? 2 : 1;
      const steps = [
        { transform: `translateY(${from - top}px)`, zIndex: layer },
        { transform: "none", zIndex: layer },
      ];
      play(child, steps, GLIDE);
    }
  }
}

function play(child, steps, timing) {
  running.set(child, child.animate(steps, timing));
}

// Seen from the parent, so that scrolling meanwhile is no movement.
function places(parent) {
  const origin = parent.getBoundingClientRect().top;
  return new Map(Array.from(parent.children, (child) => [child, child.getBoundingClientRect().top - origin]));
}

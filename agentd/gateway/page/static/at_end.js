// Keeps a place that scrolls at its end while its content grows or it gets smaller, until somebody scrolls up.

const NEAR = 80;

export function stayAtEnd(place) {
  let follows = true;
  let before = 0;
  const toEnd = () => { if (follows) place.scrollTop = place.scrollHeight; };
  place.addEventListener("scroll", () => {
    const near = place.scrollHeight - place.scrollTop - place.clientHeight < NEAR;
    if (near) follows = true;
    else if (place.scrollTop < before) follows = false;
    before = place.scrollTop;
  });
  new MutationObserver(toEnd).observe(place, { childList: true, subtree: true });
  new ResizeObserver(toEnd).observe(place);
  return () => { follows = true; };
}

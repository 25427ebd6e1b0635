// Measures a page as it is shown, with everything on it unfolded; run by test_browser.py.
() => {
  for (const details of document.querySelectorAll("details")) details.open = true;
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = canvas.getImageData(0, 0, 1, 1).data;
    return [red, green, blue, alpha / 255];
  };
  const over = (top, below) => below.map((part, n) => (n < 3 ? top[n] * top[3] + part * (1 - top[3]) : 1));
  const behind = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.push(rgba(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
  };
  const luminance = (colour) => {
    const [red, green, blue] = colour.slice(0, 3).map((part) => {
      part /= 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const contrast = (one, other) => {
    const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const texts = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.data.trim() || !element.checkVisibility() || element.closest("title, style")) continue;
    const style = getComputedStyle(element);
    const ground = behind(element);
    const ink = over(rgba(element.closest("svg") ? style.fill : style.color), ground);
    texts.push([contrast(ink, ground), node.data.trim().slice(0, 40)]);
  }
  const width = document.documentElement.clientWidth;
  const wide = [...document.querySelectorAll("main *")].filter(
    (element) => !element.closest(".scroll *, svg *") && element.getBoundingClientRect().right > width + 0.5,
  );
  const overlaps = [];
  for (const picture of document.querySelectorAll("figure > svg")) {
    const boxes = [...picture.querySelectorAll("text")].map((text) => [text.getBoundingClientRect(), text.textContent]);
    boxes.forEach(([a, first], n) => boxes.slice(n + 1).forEach(([b, second]) => {
      if (a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom) overlaps.push([first, second]);
    }));
  }
  return {
    texts,
    overlaps,
    wide: wide.map((element) => element.outerHTML.slice(0, 80)),
    overflow: document.documentElement.scrollWidth - width,
    paper: rgba(getComputedStyle(document.body).backgroundColor).slice(0, 3),
  };
}

const slider = document.getElementById("opacity");
slider.addEventListener("input", () => {
  document.documentElement.style.setProperty("--opacity", slider.value / 100);
  document.getElementById("share").textContent = `${slider.value} %`;
});

for (const section of document.querySelectorAll("main > section")) {
  const show = () => {
    const chosen = section.querySelector("fieldset input:checked").value;
    for (const figure of section.querySelectorAll("figure[data-target]")) {
      figure.hidden = figure.dataset.target !== chosen;
    }
  };
  if (section.querySelector("fieldset")) {
    section.addEventListener("change", show);
    show();
  }
}

const output = document.getElementById("value");
const colours = {};
for (const name of ["signed", "magnitude"]) {
  colours[name] = output.dataset[name].match(/.{6}/g).map((code) => code.match(/../g).map((byte) => parseInt(byte, 16)));
}
const drawn = new WeakMap();

function pixelsOf(map) {
  if (!drawn.has(map)) {
    const canvas = document.createElement("canvas");
    canvas.width = map.naturalWidth;
    canvas.height = map.naturalHeight;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(map, 0, 0);
    drawn.set(map, context);
  }
  return drawn.get(map);
}

function levelOf(map, row, column) {
  const pixel = pixelsOf(map).getImageData(column, row, 1, 1).data;
  // Not the equal colour: a browser may add noise to what a page reads, against those who follow its user.
  const distance = (colour) => colour.reduce((sum, byte, place) => sum + (byte - pixel[place]) ** 2, 0);
  const distances = colours[map.dataset.colours].map(distance);
  return distances.indexOf(Math.min(...distances));
}

function valueOf(map, row, column) {
  const level = levelOf(map, row, column);
  const isSigned = map.dataset.colours === "signed";
  const levels = colours[map.dataset.colours].length;
  const share = isSigned ? (2 * level) / levels - 1 : level / levels;
  const value = Number((share * map.dataset.limit).toPrecision(2));
  // Values beyond the range have its first or its last colour.
  if (level === levels - 1) return `${value} or more`;
  return isSigned && level === 0 ? `${value} or less` : `${value}`;
}

document.addEventListener("pointermove", (event) => {
  const map = event.target.closest?.(".layers")?.querySelector("img");
  output.hidden = !map;
  if (!map) return;
  const box = map.getBoundingClientRect();
  const along = (share, size) => Math.min(size - 1, Math.max(0, Math.floor(share * size)));
  const row = along((event.clientY - box.top) / box.height, map.naturalHeight);
  const column = along((event.clientX - box.left) / box.width, map.naturalWidth);
  output.textContent = `row ${row}, column ${column}: ${valueOf(map, row, column)}`;
  output.style.left = `${Math.min(event.clientX, window.innerWidth - output.offsetWidth - 24)}px`;
  output.style.top = `${event.clientY}px`;
});

"use strict";
// Turns the loss surface: by dragging, or with the arrow keys. Without this script it stands still.
(() => {
  const svg = document.getElementById("surface");
  if (!svg) return;
  const heights = JSON.parse(svg.dataset.z);
  const side = heights.length, size = 420;
  let azimuth = -2.2, elevation = 0.5, held = null;

  const draw = () => {
    const ca = Math.cos(azimuth), sa = Math.sin(azimuth), ce = Math.cos(elevation), se = Math.sin(elevation);
    const project = (i, j) => {
      const a = 2 * i / (side - 1) - 1, b = 2 * j / (side - 1) - 1;
      const depth = a * sa + b * ca, up = (heights[i][j] - 0.5) * ce + depth * se;
      return [size * (0.5 + (a * ca - b * sa) / 3), size * (0.5 - up / 3), depth, heights[i][j]];
    };
    const cells = [];
    for (let i = 0; i + 1 < side; i++) {
      for (let j = 0; j + 1 < side; j++) {
        const corners = [project(i, j), project(i + 1, j), project(i + 1, j + 1), project(i, j + 1)];
        cells.push([corners.reduce((sum, c) => sum + c[2], 0), corners]);
      }
    }
    cells.sort((one, other) => other[0] - one[0]);
    svg.replaceChildren(...cells.map(([, corners]) => {
      const cell = document.createElementNS("http://www.w3.org/2000/svg", "polygon");
      const mean = corners.reduce((sum, c) => sum + c[3], 0) / 4;
      cell.setAttribute("class", "h" + Math.max(0, Math.min(9, Math.floor(mean * 9))));
      cell.setAttribute("points", corners.map((c) => c[0].toFixed(1) + "," + c[1].toFixed(1)).join(" "));
      return cell;
    }));
    svg.dataset.azimuth = azimuth.toFixed(3);
  };

  const turn = (across, up) => {
    azimuth += across;
    elevation = Math.max(0, Math.min(1.5, elevation + up));
    draw();
  };
  svg.addEventListener("pointerdown", (event) => {
    held = [event.clientX, event.clientY];
    svg.setPointerCapture(event.pointerId);
  });
  svg.addEventListener("pointermove", (event) => {
    if (!held) return;
    turn((event.clientX - held[0]) / 120, (event.clientY - held[1]) / 120);
    held = [event.clientX, event.clientY];
  });
  for (const name of ["pointerup", "pointercancel"]) svg.addEventListener(name, () => { held = null; });
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-0.15, 0], ArrowRight: [0.15, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[event.key];
    if (!step) return;
    event.preventDefault();
    turn(...step);
  });
  svg.classList.add("turns");
  draw();
})();

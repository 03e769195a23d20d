"""What is wrong with a page as a browser lays it out: for every page that robaudit writes."""

from __future__ import annotations

from typing import Any

#: In the page: what is wider than it, text over text, and text that is too faint.
SCRIPT = """
() => {
  const found = [], width = document.documentElement.clientWidth;
  const visible = (item) => item.checkVisibility({ visibilityProperty: true });
  const scrolls = (item) => item.closest(".scroll, pre");
  for (const item of document.querySelectorAll("body *")) {
    const box = item.getBoundingClientRect();
    if (visible(item) && box.width && !scrolls(item) && (box.right > width + 1 || box.left < -1))
      found.push("wider than the page: " + item.outerHTML.slice(0, 120));
  }
  const lines = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode());) {
    if (!node.data.trim() || !visible(node.parentElement) || node.parentElement.closest("title, script")) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const box of range.getClientRects()) if (box.width > 1) lines.push([box, node]);
  }
  for (let i = 0; i < lines.length; i++) {
    for (let j = i + 1; j < lines.length; j++) {
      const [a, one] = lines[i], [b, other] = lines[j];
      const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (one !== other && across > 2 && down > 0.35 * Math.min(a.height, b.height))
        found.push("text over text: " + one.data.trim().slice(0, 40) + " | " + other.data.trim().slice(0, 40));
    }
  }
  const colour = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = (item) => {
    for (; item; item = item.parentElement) {
      const found = colour(getComputedStyle(item).backgroundColor);
      if (found.length < 4 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  for (const node of new Set(lines.map(([, node]) => node))) {
    const item = node.parentElement, style = getComputedStyle(item);
    const ink = colour(item instanceof SVGElement ? style.fill : style.color);
    const [a, b] = [light(ink), light(ground(item))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) found.push("too faint: " + node.data.trim().slice(0, 60));
  }
  return found;
}
"""


def problems(page: Any) -> list[str]:
    """One sentence for each."""
    return sorted(set(page.evaluate(SCRIPT)))

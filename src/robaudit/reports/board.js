"use strict";
// Sorts and filters the table. Without this script it stands in the order that was given.
(() => {
  const table = document.getElementById("audits"), body = table.tBodies[0];
  const search = document.getElementById("search"), outcome = document.getElementById("outcome");
  const data = document.getElementById("data"), shown = document.getElementById("shown");
  document.querySelector(".filters").hidden = false;

  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of body.rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !(words.every((word) => text.includes(word)) &&
        (!outcome.value || row.dataset.outcome === outcome.value) && (!data.value || row.dataset.data === data.value));
      count += !row.hidden;
    }
    shown.textContent = count + " of " + body.rows.length;
  };
  for (const item of [search, outcome, data]) item.addEventListener("input", filter);

  const key = (row, column) => row.cells[column].dataset.sort ?? row.cells[column].textContent.trim().toLowerCase();
  const compare = (one, other) => {
    if (one === "" || other === "") return (one === "") - (other === "");  // what is not known goes last
    return isNaN(one) || isNaN(other) ? one.localeCompare(other) : one - other;
  };
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const item of table.tHead.rows[0].cells) item.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...body.rows].sort((a, b) => {
        const one = key(a, column), other = key(b, column), order = compare(one, other);
        return down && one !== "" && other !== "" ? -order : order;
      });
      body.replaceChildren(...rows);
    });
  });
  filter();
})();

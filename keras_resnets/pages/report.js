"use strict";
// Contents, from the headings.
const list = document.createElement("ul");
const all = document.querySelectorAll("h2, h3");
for (const heading of all.length > 12 ? document.querySelectorAll("h2") : all) {
  const link = document.createElement("a"), item = document.createElement("li");
  link.href = "#" + heading.id;
  link.textContent = heading.textContent;
  link.addEventListener("click", () => { for (let e = heading; e; e = e.parentElement) if (e.tagName === "DETAILS") e.open = true; });
  item.append(link);
  list.append(item);
}
document.getElementById("contents").append(list);
// Figures, as files.
for (const link of document.querySelectorAll("a.svg")) {
  link.href = link.closest("figure").querySelector("img").src;
  link.hidden = false;
}
// Tables that sort: by number where a column has numbers, with empty cells last.
for (const table of document.querySelectorAll("table.sorts")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => {
    const button = document.createElement("button"), label = head.textContent;
    button.type = "button";
    button.textContent = label;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending", sign = down ? -1 : 1;
      const numeric = head.classList.contains("n"), key = row => row.cells[column].dataset.value;
      const compare = (a, b) => numeric ? Number(a) - Number(b) : a.localeCompare(b, "en", { numeric: true });
      const rows = [...body.rows].sort((a, b) => {
        const x = key(a), y = key(b);
        return x === "" || y === "" ? (x === "") - (y === "") : sign * compare(x, y);
      });
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      body.append(...rows);
      document.getElementById("said").textContent = `${table.caption.textContent}: sorted by ${label}, ${down ? "largest" : "smallest"} first`;
    });
  });
}

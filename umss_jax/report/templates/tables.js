"use strict";
// Says of tables that are cut by the window's edge that there is more; opens what a link leads to.
{
  const look = (table) => {
    const scroll = table.querySelector(".scroll");
    table.classList.toggle("cut", scroll.scrollWidth > scroll.clientWidth + 1);
  };
  const sizes = new ResizeObserver((entries) => entries.forEach((entry) => look(entry.target)));
  for (const table of document.querySelectorAll(".table")) sizes.observe(table);
  for (const link of document.querySelectorAll(".contents a")) {
    link.addEventListener("click", () => {
      const target = document.querySelector(link.hash);
      if (target instanceof HTMLDetailsElement) target.open = true;
    });
  }
}

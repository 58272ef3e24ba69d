// What a page does beyond being read: a grid that opens and filters, and tables that page, search and filter.
// Everything that a model or a corpus wrote is put in place with textContent or by copying nodes, never as markup.
"use strict";
(() => {
  const make = (name, properties = {}, children = []) => {
    const node = Object.assign(document.createElement(name), properties);
    node.append(...children);
    return node;
  };
  const folded = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
  const counted = (number, one, more) => `${number.toLocaleString("en")} ${number === 1 ? one : more}`;

  // --- the view that cells and rows open ---

  const view = document.getElementById("view");
  const part = (name) => document.getElementById(`view-${name}`);
  let shown = null; // {list: () => openers, opener, show}

  const fill = () => {
    const [title, content] = shown.show(shown.opener);
    part("title").textContent = title;
    part("body").replaceChildren(content);
    const openers = shown.list();
    const place = openers.indexOf(shown.opener);
    part("back").disabled = place <= 0;
    part("on").disabled = place < 0 || place === openers.length - 1;
    view.scrollTop = 0;
  };
  const step = (by) => {
    const openers = shown.list();
    shown.opener = openers[openers.indexOf(shown.opener) + by] || shown.opener;
    fill();
  };
  const open = (list, opener, show) => {
    shown = { list, opener, show };
    fill();
    view.showModal();
    part("close").focus();
  };
  if (view) {
    part("close").addEventListener("click", () => view.close());
    part("back").addEventListener("click", () => step(-1));
    part("on").addEventListener("click", () => step(1));
    view.addEventListener("click", (event) => event.target === view && view.close());
    view.addEventListener("keydown", (event) => {
      if (event.key === "ArrowLeft" && !part("back").disabled) step(-1);
      if (event.key === "ArrowRight" && !part("on").disabled) step(1);
    });
    view.addEventListener("close", () => shown && shown.opener.focus());
  }

  // --- the grid of facts and attacks ---

  const grid = document.getElementById("grid");
  const isSeen = (node) => !node.closest("[hidden]");

  const showCell = (link) => {
    const place = document.getElementById(link.hash.slice(1));
    const copy = place.cloneNode(true);
    copy.removeAttribute("id");
    return [place.closest("article").querySelector("h3").textContent, copy];
  };

  const prepareGrid = () => {
    const cells = [...grid.querySelectorAll("td a")];
    const list = () => cells.filter(isSeen);
    for (const link of cells) {
      link.setAttribute("role", "button");
      link.setAttribute("aria-haspopup", "dialog");
      link.addEventListener("click", (event) => {
        event.preventDefault();
        open(list, link, showCell);
      });
      link.addEventListener("keydown", (event) => {
        if (event.key === " ") {
          event.preventDefault();
          link.click();
        }
      });
    }
    const rows = [...grid.querySelectorAll("tr.fact")];
    const texts = rows.map((row) => folded(row.querySelector("th").textContent));
    const search = make("input", { type: "search" });
    const leaking = make("input", { type: "checkbox" });
    const count = make("p", { className: "count" });
    count.setAttribute("role", "status");
    const update = () => {
      const wanted = folded(search.value.trim());
      rows.forEach((row, index) => {
        row.hidden = !texts[index].includes(wanted) || (leaking.checked && !row.classList.contains("leaking"));
      });
      for (const body of grid.tBodies) body.hidden = ![...body.querySelectorAll("tr.fact")].some((row) => !row.hidden);
      count.textContent = counted(rows.filter((row) => !row.hidden).length, "row", "rows");
    };
    search.addEventListener("input", update);
    leaking.addEventListener("change", update);
    const controls = document.getElementById("grid-controls");
    controls.append(
      make("label", {}, ["Search facts", search]),
      make("label", { className: "tick" }, [leaking, "only what leaks"]),
      count,
    );
    controls.hidden = false;
    update();
  };

  // --- tables that page ---

  const prepareTable = (place, data) => {
    const { columns, items, size } = data;
    const body = place.querySelector("tbody");
    const cell = (item, index) => (columns[index].choices.length ? columns[index].choices[item[index]] : item[index]);
    const texts = items.map((item) => folded(columns.map((_, index) => cell(item, index)).join("\n")));
    const search = make("input", { type: "search" });
    const count = make("p", { className: "count" });
    count.setAttribute("role", "status");
    const back = make("button", { type: "button", textContent: "Previous page" });
    const on = make("button", { type: "button", textContent: "Next page" });
    const chosen = new Map();
    let found = items.map((_, index) => index);
    let first = 0;

    const showRow = (opener) => {
      const item = items[Number(opener.dataset.row)];
      const list = make("dl");
      columns.forEach((column, index) => {
        if (cell(item, index) === "") return;
        list.append(make("dt", { textContent: column.name }), make("dd", { textContent: cell(item, index), dir: "auto" }));
      });
      return [place.querySelector("caption").textContent.split(",")[0], list];
    };
    const openers = () => [...body.querySelectorAll("button")];
    const draw = () => {
      const rows = found.slice(first, first + size).map((index) => {
        const cells = columns
          .map((column, number) => [column, cell(items[index], number)])
          .filter(([column]) => !column.opened)
          .map(([, text]) => make("td", { textContent: text.length > 400 ? `${text.slice(0, 400)} …` : text, dir: "auto" }));
        const button = make("button", { type: "button", textContent: "Open" });
        button.dataset.row = index;
        button.setAttribute("aria-haspopup", "dialog");
        button.setAttribute("aria-label", `Open row ${index + 1}`);
        button.addEventListener("click", () => open(openers, button, showRow));
        return make("tr", {}, [...cells, make("td", {}, [button])]);
      });
      body.replaceChildren(...rows);
      const last = Math.min(first + size, found.length);
      count.textContent = found.length ? `${first + 1} to ${last} of ${counted(found.length, "row", "rows")}` : "no row";
      back.disabled = first === 0;
      on.disabled = last >= found.length;
    };
    const update = () => {
      const wanted = folded(search.value.trim());
      found = [];
      items.forEach((item, index) => {
        for (const [column, value] of chosen) if (value !== "" && String(item[column]) !== value) return;
        if (texts[index].includes(wanted)) found.push(index);
      });
      first = 0;
      draw();
    };
    const turn = (by) => {
      first = Math.max(0, first + by * size);
      draw();
      place.querySelector("table").scrollIntoView({ block: "nearest" });
    };

    const controls = place.querySelector(".controls");
    controls.append(make("label", {}, ["Search", search]));
    columns.forEach((column, index) => {
      if (column.choices.length < 2) return;
      const select = make("select", {}, [make("option", { value: "", textContent: "all" })]);
      column.choices.forEach((choice, number) => {
        select.append(make("option", { value: String(number), textContent: choice || "none" }));
      });
      select.addEventListener("change", () => {
        chosen.set(index, select.value);
        update();
      });
      controls.append(make("label", {}, [column.name, select]));
    });
    controls.append(count);
    place.append(make("div", { className: "bar pages" }, [back, on]));
    place.querySelector("thead tr").append(make("th", { scope: "col", textContent: "all of it" }));
    search.addEventListener("input", update);
    back.addEventListener("click", () => turn(-1));
    on.addEventListener("click", () => turn(1));
    controls.hidden = false;
    draw();
  };

  // --- what can be scrolled can be reached by keyboard, and nothing else ---

  const markScrollable = () => {
    for (const box of document.querySelectorAll(".scroll, pre")) {
      const isLong = box.scrollWidth > box.clientWidth + 1 || box.scrollHeight > box.clientHeight + 1;
      if (isLong) box.setAttribute("tabindex", "0");
      else box.removeAttribute("tabindex");
    }
  };

  if (grid) prepareGrid();
  const data = document.getElementById("tables");
  const tables = data ? JSON.parse(data.textContent) : {};
  for (const place of document.querySelectorAll(".paged")) prepareTable(place, tables[place.dataset.table]);
  markScrollable();
  addEventListener("resize", markScrollable);
  document.addEventListener("toggle", markScrollable, true);
})();

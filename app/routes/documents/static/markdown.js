// Our pages' Markdown as a tree of [tag, attributes, ...children]: headings, paragraphs, lists, tables,
// code, quotes. Text stays text: nothing of a page is ever read as HTML.

const INLINE = /`([^`]+)`|\*\*([^*]+)\*\*|!?\[([^\]]*)\]\(([^)\s]+)\)/g;

export function inline(text) {
  const parts = [];
  let end = 0;
  for (const found of text.matchAll(INLINE)) {
    if (found.index > end) parts.push(text.slice(end, found.index));
    const [whole, code, bold, label, address] = found;
    if (code !== undefined) parts.push(["code", {}, code]);
    else if (bold !== undefined) parts.push(["strong", {}, ...inline(bold)]);
    else parts.push(["a", { href: target(address) }, ...inline(label)]);
    end = found.index + whole.length;
  }
  if (end < text.length) parts.push(text.slice(end));
  return parts;
}

// Where a link of a page leads here. Only pages, anchors and the web.
export function target(address) {
  const page = address.match(/^(?:\/docs\/)?([A-Za-z0-9-]+)\.md(#.*)?$/);
  if (page) return `#${page[1]}${page[2] ? `/${page[2].slice(1)}` : ""}`;
  return /^(https?:\/\/|#)/.test(address) ? address : "#";
}

export function slug(text) {
  return text.toLowerCase().replace(/[^\p{L}\p{N}\s-]/gu, "").trim().replace(/\s+/g, "-");
}

const cells = (line) => line.trim().replace(/^\||\|$/g, "").split(/(?<!\\)\|/).map((one) => one.trim().replace(/\\\|/g, "|"));
const plain = (line) => line && !/^(#{1,6} |```|\||[-*] |\d+\. |> )/.test(line);

export function markdown(text) {
  const lines = text.replace(/\r/g, "").split("\n");
  const tree = [];
  let at = 0;
  const take = (fits) => { const begin = at; while (at < lines.length && fits(lines[at])) at += 1; return lines.slice(begin, at); };
  while (at < lines.length) {
    const line = lines[at];
    const heading = line.match(/^(#{1,6}) (.*)$/);
    if (!line.trim()) at += 1;
    else if (heading) {
      tree.push([`h${heading[1].length}`, { id: slug(heading[2]) }, ...inline(heading[2])]);
      at += 1;
    } else if (line.startsWith("```")) {
      at += 1;
      const code = take((one) => !one.startsWith("```"));
      at += 1;
      tree.push(["pre", { tabindex: "0" }, ["code", {}, code.join("\n")]]);
    } else if (line.startsWith("|")) {
      const rows = take((one) => one.startsWith("|")).map(cells);
      const head = rows.shift() ?? [];
      if (rows[0]?.every((cell) => /^:?-*:?$/.test(cell))) rows.shift();
      const row = (kind) => (one) => ["tr", {}, ...one.map((cell) => [kind, {}, ...inline(cell)])];
      tree.push(["div", { class: "wide", tabindex: "0" }, ["table", {}, ["thead", {}, row("th")(head)], ["tbody", {}, ...rows.map(row("td"))]]]);
    } else if (/^([-*]|\d+\.) /.test(line)) {
      const kind = /^\d/.test(line) ? "ol" : "ul";
      const items = [];
      for (const one of take((next) => /^([-*]|\d+\.) /.test(next) || /^\s+\S/.test(next))) {
        const item = one.match(/^(?:[-*]|\d+\.) (.*)$/);
        if (item) items.push(item[1]); else items[items.length - 1] += ` ${one.trim()}`;
      }
      tree.push([kind, {}, ...items.map((item) => ["li", {}, ...inline(item)])]);
    } else if (line.startsWith("> ")) {
      tree.push(["blockquote", {}, ...inline(take((one) => one.startsWith("> ")).map((one) => one.slice(2)).join(" "))]);
    } else {
      tree.push(["p", {}, ...inline(take(plain).join(" "))]);
    }
  }
  return tree;
}

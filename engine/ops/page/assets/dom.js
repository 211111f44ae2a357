// What the views build pages with. Whatever comes from a server gets in as text, never as markup.

export const byId = (id) => document.getElementById(id);

// el makes an element: attributes by name, "on…" listeners, children that are elements or text.
export function el(name, attributes = {}, ...children) {
	const e = document.createElement(name);
	for (const [key, value] of Object.entries(attributes)) {
		if (key.startsWith("on")) e.addEventListener(key.slice(2), value);
		else if (value === true) e.setAttribute(key, "");
		else if (value !== false && value != null) e.setAttribute(key, value);
	}
	e.append(...children.flat().filter((c) => c != null && c !== ""));
	return e;
}

// setText leaves alone what has that text already, so that nobody is told twice.
export function setText(e, text) {
	if (e.textContent !== text) e.textContent = text;
}

// setState shows a text and how good it is: "good", "warn", "bad", or "" for neither.
export function setState(e, text, state) {
	setText(e, text);
	if (e.dataset.state !== state) e.dataset.state = state;
}

// SPDX-License-Identifier: MIT
// Elements are written as html`<p>${text}</p>`: htm reads the template and calls preact's h. Whatever is put in is
// text or an element, never markup; there is no way to make HTML of data here, and the browser is told to refuse it.
import htm from 'htm';
import { h } from 'preact';

export const html = htm.bind(h);
export const classes = (...names) => names.filter(Boolean).join(' ');

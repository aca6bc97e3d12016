//! A tree to bytes: no white space, self-closed empty elements, ASCII only.

use std::fmt::Write;

use super::Element;

pub(super) fn document(root: &Element, declaration: &str) -> String {
    let mut output = String::from(declaration);
    element(root, &mut output);
    output
}

/// Recursion is as deep as the tree, and trees are built by this crate or read under the depth limit.
fn element(element_to_write: &Element, output: &mut String) {
    let name = &element_to_write.name;
    if element_to_write.text.is_empty() && element_to_write.children.is_empty() {
        output.push('<');
        output.push_str(name);
        output.push_str("/>");
        return;
    }
    output.push('<');
    output.push_str(name);
    output.push('>');
    escape(&element_to_write.text, output);
    for child in &element_to_write.children {
        element(child, output);
    }
    output.push_str("</");
    output.push_str(name);
    output.push('>');
}

fn escape(text: &str, output: &mut String) {
    for character in text.chars() {
        match character {
            '<' => output.push_str("&lt;"),
            '>' => output.push_str("&gt;"),
            '&' => output.push_str("&amp;"),
            ' '..='~' => output.push(character),
            _ => {
                // What XML 1.0 has no way to write becomes the sign for exactly that.
                let character = if is_allowed(character) { character } else { char::REPLACEMENT_CHARACTER };
                // Writing to a String does not fail.
                let _infallible = write!(output, "&#x{:X};", u32::from(character));
            }
        }
    }
}

/// Production `Char` of XML 1.0.
fn is_allowed(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | '\u{20}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
}

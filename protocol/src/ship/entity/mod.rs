//! Users, access levels, doors and events, as records whose fields may each be absent.
//!
//! A server sends what it was asked for, and an update changes what is present: so every field is an `Option`, and "absent" is
//! never "empty". Fields are written in the order of the declaration, which is the order seen in captures.

mod audit;
mod door;
mod group;
mod user;

use super::notes::Notes;
use super::value::FieldValue;
use super::xml::Element;

pub use audit::AuditEvent;
pub use door::{Door, DoorActionResult, DoorZoneMembership, OnlineDoorStatus};
pub use group::{Group, GroupDoorPermission, GroupZonePermission};
pub use user::{User, UserDoorPermission, UserGroupMembership, UserZonePermission};

/// A record with a fixed element name.
pub trait Entity: Sized {
    /// Name of its element in a list.
    const ELEMENT: &'static str;

    /// Reads the fields it knows and notes the names of the others.
    fn read(element: &Element, notes: &mut Notes) -> Self;

    /// Writes the fields that are present.
    fn to_element(&self) -> Element;
}

/// Records in a list element.
impl<T: Entity> FieldValue for Vec<T> {
    fn read(element: &Element, notes: &mut Notes) -> Option<Self> {
        let mut records = Self::with_capacity(element.children.len());
        for child in &element.children {
            if child.name == T::ELEMENT {
                records.push(T::read(child, notes));
            } else {
                notes.add(&element.name, &child.name, "is not known");
            }
        }
        Some(records)
    }

    fn write(&self, name: &str) -> Element {
        Element::with_children(name, self.iter().map(T::to_element).collect())
    }
}

macro_rules! entity {
    ($(#[$meta:meta])* $name:ident = $element:literal { $($(#[$field_meta:meta])* $field:ident: $type:ty = $tag:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct $name {
            $($(#[$field_meta])* pub $field: Option<$type>,)*
        }

        impl $crate::ship::entity::Entity for $name {
            const ELEMENT: &'static str = $element;

            fn read(element: &$crate::ship::xml::Element, notes: &mut $crate::ship::Notes) -> Self {
                let mut record = Self::default();
                for child in &element.children {
                    match child.name.as_str() {
                        $($tag => {
                            record.$field = <$type as $crate::ship::value::FieldValue>::read(child, notes);
                            // An empty element of a type that cannot be empty is how servers write "none".
                            if record.$field.is_none() && !(child.text.is_empty() && child.children.is_empty()) {
                                notes.add($element, $tag, "cannot be read");
                            }
                        })*
                        unknown => notes.add($element, unknown, "is not known"),
                    }
                }
                record
            }

            fn to_element(&self) -> $crate::ship::xml::Element {
                let mut children = Vec::new();
                $(if let Some(value) = &self.$field {
                    children.push($crate::ship::value::FieldValue::write(value, $tag));
                })*
                $crate::ship::xml::Element::with_children($element, children)
            }
        }
    };
}
use entity;

//! A SALTO Space server, its locks and its cards, as one process that tests can talk to.
//!
//! What it owns: its own reading and printing of SHIP (nothing here uses the product's codec, so that a mistake in one is
//! seen by the other), the site database, every card as an object with contents of its own, and one durable count of
//! everything physical that was done.
//!
//! What it promises:
//! * An answer is sent after its change is in the change log on disk; a physical effect is also synced (`fdatasync`) first.
//! * Offline doors decide by what is written on the card, their own clock and the denylist they have been shown. Nothing else.
//! * What a real server refuses is refused here with the code of the vendor's table.
//!
//! What it never does: it never guesses for the caller, and it never repeats or drops an effect by itself. Faults happen
//! only when the control interface asked for them.
//!
//! [`salto_pms`] is a system of its own, the same server's PMS interface; [`mod@line`] is the line in front of it.
//!
//! Parts: [`wire`] (bytes and XML), [`site`] (database, cards, doors, durability), [`ship`] (requests), [`server`] (sockets,
//! control interface), [`mod@fault`] (faults that a test asks for),
//! [`refusal`] (the vendor's error codes).

pub mod fault;
pub mod fias;
pub mod line;
pub mod refusal;
pub mod salto_pms;
pub mod server;
pub mod ship;
pub mod site;
pub mod wire;

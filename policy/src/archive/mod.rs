//! The archived form of a policy: what stands in a `.snapshot` file and in sealed memory. Apart from the model on purpose:
//! the model says what people mean, these tables say how it is found. Pure: bytes in, bytes out.

pub mod codes;
pub mod hash;
pub mod keys;
pub mod layout;
pub mod packing;
pub mod reach;
pub mod read;
pub mod servers;
pub mod strings;
pub mod suspects;
pub mod table;
pub mod uri;
pub mod verify;
pub mod write;
pub mod zones;

//! A state on disk: a safetensors file of its arrays, whose metadata hold all else.
//!
//! Arrays are tensors of the optimizer's scalar type. The tensors of a set are called
//! `PARAMETER/PATH`, that of one optimizer `PATH`, with the paths of the state as JSON. The metadata are
//! `format`, `version`, `scalar`, `state` (JSON, a [`Content`](header::Content)) and `checksum`, which is
//! of the text of `state`; a checksum of each tensor stands inside. Checksums are XXH3 in 64 bits, as
//! 16 hexadecimal digits: they keep up with memory, and Python's `xxhash` has them too.

pub(crate) mod header;
pub(crate) mod read;
mod tensor;
pub(crate) mod write;

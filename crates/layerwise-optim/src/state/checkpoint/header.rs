//! What the header of a checkpoint says.

use std::borrow::Cow;
use std::collections::BTreeMap;

use layerwise_linalg::Scalar;
use safetensors::tensor::{Dtype, TensorInfo};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::config::chain::Chain;
use crate::state::saved::STATE_VERSION;

pub(super) const FORMAT: &str = "layerwise-optim";

/// The most that other readers of the format take, too.
pub(super) const LARGEST_HEADER: u64 = 100_000_000;

/// Bytes of the header's length, which the header is a multiple of: so tensors are aligned.
pub(super) const LENGTH_BYTES: usize = 8;

/// One optimizer, or those of a set by name.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Content<T> {
    Optimizer(T),
    Set {
        /// Of the run.
        steps: u64,
        parameters: BTreeMap<String, T>,
    },
}

/// The state of one optimizer, but the entries of its arrays.
#[derive(Serialize, Deserialize)]
pub(crate) struct Entry<'s> {
    pub(super) shape: (usize, usize),
    pub(super) steps: u64,
    pub(super) method: Cow<'s, Chain>,
    pub(super) values: BTreeMap<String, Value>,
    pub(super) arrays: BTreeMap<String, Array>,
}

/// JSON keeps the numbers in every bit, as long as they are finite.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Value {
    Number(f64),
    Count(u64),
    Flag(bool),
}

#[derive(Serialize, Deserialize)]
pub(super) struct Array {
    pub(super) shape: (usize, usize),
    pub(super) checksum: String,
}

impl<T> Content<T> {
    /// The parts in the order of the file, with the names of parameters.
    pub(super) fn parts(&self) -> Vec<(Option<&str>, &T)> {
        match self {
            Content::Optimizer(part) => vec![(None, part)],
            Content::Set { parameters, .. } => {
                parameters.iter().map(|(name, part)| (Some(name.as_str()), part)).collect()
            }
        }
    }

    pub(super) fn part(&self, name: Option<&str>) -> Option<&T> {
        match (self, name) {
            (Content::Optimizer(part), None) => Some(part),
            (Content::Set { parameters, .. }, Some(name)) => parameters.get(name),
            _ => None,
        }
    }

    pub(super) fn try_map<U, E>(
        self,
        mut map: impl FnMut(Option<&str>, T) -> Result<U, E>,
    ) -> Result<Content<U>, E> {
        Ok(match self {
            Content::Optimizer(part) => Content::Optimizer(map(None, part)?),
            Content::Set { steps, parameters } => Content::Set {
                steps,
                parameters: parameters
                    .into_iter()
                    .map(|(name, part)| map(Some(&name), part).map(|part| (name, part)))
                    .collect::<Result<_, E>>()?,
            },
        })
    }
}

impl Content<Entry<'_>> {
    /// The arrays in the order of the file, by the names of their tensors.
    pub(super) fn arrays(&self) -> Vec<(String, &Array)> {
        let arrays = self.parts().into_iter().flat_map(|(parameter, entry)| {
            entry.arrays.iter().map(move |(path, array)| (tensor_name(parameter, path), array))
        });
        arrays.collect()
    }

    /// The same, in the same order, to be completed.
    pub(super) fn arrays_mut(&mut self) -> Vec<&mut Array> {
        match self {
            Content::Optimizer(entry) => entry.arrays.values_mut().collect(),
            Content::Set { parameters, .. } => {
                parameters.values_mut().flat_map(|entry| entry.arrays.values_mut()).collect()
            }
        }
    }

    /// The length of the header and the header, padded to whole words.
    pub(super) fn header<A: Scalar>(&self) -> serde_json::Result<Vec<u8>> {
        let state = serde_json::to_string(self)?;
        let metadata = BTreeMap::from([
            ("format", FORMAT.to_owned()),
            ("version", STATE_VERSION.to_string()),
            ("scalar", A::NAME.to_owned()),
            ("checksum", digits(xxh3_64(state.as_bytes()))),
            ("state", state),
        ]);
        let mut at = 0;
        let tensors = self.arrays().into_iter().map(|(name, array)| {
            let (rows, cols) = array.shape;
            let start = at;
            at += rows * cols * size_of::<A>();
            let data_offsets = (start, at);
            (name, TensorInfo { dtype: dtype::<A>(), shape: vec![rows, cols], data_offsets })
        });
        let mut header = vec![0; LENGTH_BYTES];
        let header_map = Header { metadata, tensors: tensors.collect() };
        serde_json::to_writer(&mut header, &header_map)?;
        header.resize(header.len().next_multiple_of(LENGTH_BYTES), b' ');
        let length = (header.len() - LENGTH_BYTES) as u64;
        header[..LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
        Ok(header)
    }
}

/// In one order, so that equal states make equal files.
#[derive(Serialize)]
struct Header {
    #[serde(rename = "__metadata__")]
    metadata: BTreeMap<&'static str, String>,
    #[serde(flatten)]
    tensors: BTreeMap<String, TensorInfo>,
}

pub(super) fn tensor_name(parameter: Option<&str>, path: &str) -> String {
    parameter.map_or_else(|| path.to_owned(), |name| format!("{name}/{path}"))
}

pub(super) fn dtype<A: Scalar>() -> Dtype {
    if A::NAME == f32::NAME { Dtype::F32 } else { Dtype::F64 }
}

pub(super) fn digits(checksum: u64) -> String {
    format!("{checksum:016x}")
}

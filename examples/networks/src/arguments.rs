//! What the program was asked for.

use std::path::PathBuf;

/// How to call the program.
pub const USAGE: &str =
    "usage: networks [dense|convolution|transformer ...] [--quick] [--output FOLDER]";

/// A network to train.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The dense network on digits.
    Dense,
    /// The convolutional network on digits.
    Convolution,
    /// The transformer on a play.
    Transformer,
}

impl Choice {
    /// All of them, in the order in which they are trained.
    pub const ALL: [Choice; 3] = [Choice::Dense, Choice::Convolution, Choice::Transformer];

    /// What it is asked for by.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Choice::Dense => "dense",
            Choice::Convolution => "convolution",
            Choice::Transformer => "transformer",
        }
    }
}

/// What the program was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arguments {
    /// Which networks; all where none is named.
    pub networks: Vec<Choice>,
    /// Fewer steps, and one run of each method.
    pub quick: bool,
    /// Where curves are written.
    pub output: PathBuf,
}

/// Why arguments are refused.
#[derive(Debug, thiserror::Error)]
pub enum ArgumentError {
    /// A name or an option that there is not.
    #[error(
        "{0:?} is neither an option nor one of the networks dense, convolution, transformer; {USAGE}"
    )]
    Unknown(String),
    /// An option without what belongs to it.
    #[error("--output needs a folder; {USAGE}")]
    NoFolder,
}

/// Reads arguments, without the program's name.
///
/// # Errors
///
/// Names that are unknown, and an option without its folder.
pub fn parse(given: impl IntoIterator<Item = String>) -> Result<Arguments, ArgumentError> {
    let mut arguments =
        Arguments { networks: Vec::new(), quick: false, output: PathBuf::from(".") };
    let mut given = given.into_iter();
    while let Some(argument) = given.next() {
        match argument.as_str() {
            "--quick" => arguments.quick = true,
            "--output" => {
                arguments.output = given.next().ok_or(ArgumentError::NoFolder)?.into();
            }
            name => match Choice::ALL.into_iter().find(|choice| choice.name() == name) {
                Some(choice) if arguments.networks.contains(&choice) => {}
                Some(choice) => arguments.networks.push(choice),
                None => return Err(ArgumentError::Unknown(argument)),
            },
        }
    }
    if arguments.networks.is_empty() {
        arguments.networks = Choice::ALL.into();
    }
    Ok(arguments)
}

//! Disks that fail between the two times that a checkpoint is read.

use std::io::{self, Cursor, SeekFrom};

use ndarray::Array2;

use super::*;
use crate::{Adam, Group, Selector, Signals, Soap, Update};

/// A disk that fails from some read on.
struct Failing<'b> {
    bytes: Cursor<&'b [u8]>,
    reads_left: usize,
}

impl Read for Failing<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.reads_left =
            self.reads_left.checked_sub(1).ok_or_else(|| io::Error::other("no more"))?;
        self.bytes.read(into)
    }
}

impl Seek for Failing<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.bytes.seek(to)
    }
}

fn stepped(steps: usize) -> OptimizerSet<f64> {
    let mut set = OptimizerSet::new(vec![
        Group::new(Selector::named(["a"]), &Soap::default()),
        Group::new(Selector::All, &Adam::default()),
    ]);
    for name in ["a", "b"] {
        set.register(name, (3, 2), Signals::GRADIENT).unwrap();
    }
    for _ in 0..steps {
        step(&mut set).unwrap();
    }
    set
}

fn step(set: &mut OptimizerSet<f64>) -> Result<()> {
    let gradient = Array2::from_shape_fn((3, 2), |(i, j)| (1 + 3 * i + j * j) as f64);
    let mut weights = [(); 2].map(|()| Array2::<f64>::zeros((3, 2)));
    let [a, b] = &mut weights;
    set.step(&mut [
        Update::new("a", a.view_mut(), gradient.view()),
        Update::new("b", b.view_mut(), gradient.view()),
    ])
}

#[test]
fn a_disk_that_fails_at_any_read_leaves_a_set_whole_or_refusing_steps() {
    let path = std::env::temp_dir().join(format!("half-{}.safetensors", std::process::id()));
    let saved = stepped(3);
    saved.save_file(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let load = |set: &mut OptimizerSet<f64>, reads_left| {
        let file = Failing { bytes: Cursor::new(&bytes), reads_left };
        set.load_checkpoint(Checkpoint::new::<f64>(&path, file)?, Resume::Exact)
    };
    let (mut untouched, mut half) = (0, 0);
    for reads in 0.. {
        let mut set = stepped(5);
        let before = set.state();
        match load(&mut set, reads) {
            Ok(()) => {
                assert_eq!(set.state(), saved.state());
                break;
            }
            Err(error @ OptimError::HalfLoaded { .. }) => {
                half += 1;
                assert!(error.to_string().contains("no more"), "{error}");
                assert_eq!(step(&mut set), Err(error.clone()));
                assert_eq!(set.save_file(&path), Err(error));
                assert!(!path.exists());
                // Loading it as a whole makes it one again.
                if half % 2 == 0 {
                    load(&mut set, usize::MAX).unwrap();
                } else {
                    set.load(&saved.state()).unwrap();
                }
                assert_eq!(set.state(), saved.state());
                step(&mut set).unwrap();
            }
            Err(error) => {
                untouched += 1;
                assert!(matches!(error, OptimError::CheckpointIo { .. }), "{error:?}");
                assert_eq!(set.state(), before);
                step(&mut set).unwrap();
            }
        }
    }
    // The two passes read the same, the first after the header's two reads.
    assert_eq!(untouched, half + 2);
    assert!(half > 4, "{half}");
}

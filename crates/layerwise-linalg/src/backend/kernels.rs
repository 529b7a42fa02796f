//! OpenBLAS's kernels for x86-64, by the vectors that they use.
//!
//! OpenBLAS chooses by a list of the processors that it knew when it was built, and takes the oldest
//! kernel on others.

/// Vector registers, in the order of their appearance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Vectors {
    Sse,
    Avx,
    Avx2,
    Avx512,
}

/// The kernel to ask for, of each kind of vectors, best first.
const CHOICE: [(Vectors, &str); 3] =
    [(Vectors::Avx512, "SkylakeX"), (Vectors::Avx2, "Haswell"), (Vectors::Avx, "Sandybridge")];

/// A better kernel for a processor than the one that runs, if there is one to try. A kernel that the
/// user asked for and got is left in peace; one that was asked for in vain is not proposed again, nor is
/// what comes before it.
pub(crate) fn better(
    kernel: &str,
    asked: Option<&str>,
    processor: Vectors,
) -> Option<&'static str> {
    let running = of_kernel(kernel)?;
    if asked.is_some_and(|asked| asked.eq_ignore_ascii_case(kernel)) {
        return None;
    }
    let refused = asked
        .and_then(|asked| CHOICE.iter().position(|(_, name)| asked.eq_ignore_ascii_case(name)));
    CHOICE
        .iter()
        .skip(refused.map_or(0, |position| position + 1))
        .find(|(vectors, _)| *vectors <= processor && *vectors > running)
        .map(|(_, name)| *name)
}

/// Whether a kernel uses vectors that the processor does not have. OpenBLAS does not look where it is told
/// which kernel to take.
pub(crate) fn is_beyond(kernel: &str, processor: Vectors) -> bool {
    of_kernel(kernel).is_some_and(|vectors| vectors > processor)
}

/// What a kernel uses; `None` for one that is not known here.
fn of_kernel(name: &str) -> Option<Vectors> {
    const KNOWN: [(Vectors, &[&str]); 4] = [
        (
            Vectors::Sse,
            &[
                "Katmai",
                "Coppermine",
                "Northwood",
                "Prescott",
                "Banias",
                "Atom",
                "Core2",
                "Penryn",
                "Dunnington",
                "Nehalem",
                "Athlon",
                "Opteron",
                "Opteron_SSE3",
                "Barcelona",
                "Bobcat",
                "Nano",
            ],
        ),
        (Vectors::Avx, &["Sandybridge", "Bulldozer", "Piledriver", "Steamroller"]),
        (Vectors::Avx2, &["Haswell", "Zen", "Excavator"]),
        (Vectors::Avx512, &["SkylakeX", "Cooperlake", "SapphireRapids"]),
    ];
    KNOWN
        .iter()
        .find(|(_, names)| names.iter().any(|known| known.eq_ignore_ascii_case(name)))
        .map(|(vectors, _)| *vectors)
}

/// What the processor has.
#[cfg(target_arch = "x86_64")]
pub(crate) fn of_processor() -> Vectors {
    let has_all = |found: &[bool]| found.iter().all(|&found| found);
    if has_all(&[
        std::arch::is_x86_feature_detected!("avx512f"),
        std::arch::is_x86_feature_detected!("avx512vl"),
        std::arch::is_x86_feature_detected!("avx512bw"),
        std::arch::is_x86_feature_detected!("avx512dq"),
    ]) {
        Vectors::Avx512
    } else if std::arch::is_x86_feature_detected!("avx2")
        && std::arch::is_x86_feature_detected!("fma")
    {
        Vectors::Avx2
    } else if std::arch::is_x86_feature_detected!("avx") {
        Vectors::Avx
    } else {
        Vectors::Sse
    }
}

/// Elsewhere the kernels' names are others, and none of those here is proposed.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn of_processor() -> Vectors {
    Vectors::Sse
}

#[cfg(test)]
mod tests {
    use super::{Vectors, better, is_beyond};

    #[test]
    fn a_kernel_older_than_the_processor_has_a_better_one() {
        // What OpenBLAS 0.3.21 takes on a processor of 2023.
        assert_eq!(better("Prescott", None, Vectors::Avx512), Some("SkylakeX"));
        assert_eq!(better("Prescott", None, Vectors::Avx2), Some("Haswell"));
        assert_eq!(better("Nehalem", None, Vectors::Avx), Some("Sandybridge"));
        assert_eq!(better("Sandybridge", None, Vectors::Avx2), Some("Haswell"));
        assert_eq!(better("Haswell", None, Vectors::Avx512), Some("SkylakeX"));
    }

    #[test]
    fn a_kernel_of_the_processors_own_kind_has_none() {
        assert_eq!(better("Zen", None, Vectors::Avx2), None);
        assert_eq!(better("Cooperlake", None, Vectors::Avx512), None);
        assert_eq!(better("Prescott", None, Vectors::Sse), None);
        assert_eq!(better("NEOVERSEN1", None, Vectors::Sse), None);
    }

    #[test]
    fn a_kernel_newer_than_the_processor_is_known_for_one() {
        assert!(is_beyond("SkylakeX", Vectors::Avx2));
        assert!(is_beyond("haswell", Vectors::Avx));
        assert!(!is_beyond("Haswell", Vectors::Avx2));
        assert!(!is_beyond("NEOVERSEN1", Vectors::Sse));
    }

    #[test]
    fn what_the_user_asked_for_and_got_is_left_in_peace() {
        assert_eq!(better("Prescott", Some("prescott"), Vectors::Avx512), None);
    }

    #[test]
    fn what_this_openblas_has_not_is_not_asked_for_twice() {
        assert_eq!(better("Prescott", Some("SkylakeX"), Vectors::Avx512), Some("Haswell"));
        assert_eq!(better("Prescott", Some("Haswell"), Vectors::Avx512), Some("Sandybridge"));
        assert_eq!(better("Prescott", Some("Sandybridge"), Vectors::Avx512), None);
        assert_eq!(better("Prescott", Some("no such kernel"), Vectors::Avx2), Some("Haswell"));
    }
}

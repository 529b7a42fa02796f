//! What Slurm's programs say of jobs.

/// What became of a job, or of a task of an array, so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// As in `12`, or `12_3`.
    pub(super) id: String,
    /// As in `RUNNING`.
    pub(super) state: String,
    /// Slurm's word for why, which may be `None`.
    pub(super) reason: String,
}

/// The format in which `squeue` is asked.
pub(super) const SQUEUE_FORMAT: &str = "%i|%T|%r";

/// The lines of `squeue` in [`SQUEUE_FORMAT`].
pub(super) fn of_squeue(text: &str) -> Vec<Answer> {
    let answer = |line: &str| {
        let mut words = line.trim().splitn(3, '|').map(str::to_owned);
        Some(Answer { id: words.next()?, state: words.next()?, reason: words.next()? })
    };
    text.lines().filter_map(answer).collect()
}

/// The lines of `scontrol --oneliner show job`.
pub(super) fn of_scontrol(text: &str) -> Vec<Answer> {
    let answer = |line: &str| {
        let value = |name: &str| {
            line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
        };
        let id = match (value("ArrayJobId"), value("ArrayTaskId")) {
            (Some(job), Some(task)) => format!("{job}_{task}"),
            _ => value("JobId")?.to_owned(),
        };
        let reason = value("Reason").unwrap_or("None").to_owned();
        Some(Answer { id, state: value("JobState")?.to_owned(), reason })
    };
    text.lines().filter_map(answer).collect()
}

/// The lines of `sacct --parsable2 --format=JobID,State`.
pub(super) fn of_sacct(text: &str) -> Vec<Answer> {
    let answer = |line: &str| {
        let (id, state) = line.trim().split_once('|')?;
        // A cancelled job's is followed by who did it.
        let (state, reason) = state.split_once(' ').unwrap_or((state, "None"));
        Some(Answer { id: id.into(), state: state.into(), reason: reason.into() })
    };
    text.lines().filter_map(answer).collect()
}

impl Answer {
    /// That no program of Slurm's knows the job any more.
    pub(super) fn forgotten(id: &str) -> Self {
        let reason = "Slurm has forgotten it".into();
        Self { id: id.into(), state: "UNKNOWN".into(), reason }
    }

    /// Whether the job will not go on, unless somebody requeues it.
    pub(super) fn has_ended(&self) -> bool {
        matches!(
            self.state.as_str(),
            "BOOT_FAIL"
                | "CANCELLED"
                | "COMPLETED"
                | "DEADLINE"
                | "FAILED"
                | "NODE_FAIL"
                | "OUT_OF_MEMORY"
                | "PREEMPTED"
                | "REVOKED"
                | "SPECIAL_EXIT"
                | "TIMEOUT"
                | "UNKNOWN"
        )
    }

    /// Whether all of it is done.
    pub(super) fn is_completed(&self) -> bool {
        self.state == "COMPLETED"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(answers: &[Answer]) -> Vec<(&str, &str, &str, bool)> {
        let told = |a: &'_ Answer| a.has_ended();
        answers.iter().map(|a| (&*a.id, &*a.state, &*a.reason, told(a))).collect()
    }

    #[test]
    fn the_words_of_each_program_are_understood() {
        let squeue = of_squeue("12_1|COMPLETED|None\n12_2|PENDING|Resources\n\n13|PENDING|(a|b)\n");
        assert_eq!(
            told(&squeue),
            [
                ("12_1", "COMPLETED", "None", true),
                ("12_2", "PENDING", "Resources", false),
                ("13", "PENDING", "(a|b)", false),
            ]
        );
        let scontrol = of_scontrol(
            "JobId=14 ArrayJobId=12 ArrayTaskId=2 JobName=x JobState=FAILED Reason=NonZeroExitCode Y=\n\
             JobId=13 JobName=x JobState=RUNNING Reason=None Dependency=(null)\n",
        );
        assert_eq!(
            told(&scontrol),
            [("12_2", "FAILED", "NonZeroExitCode", true), ("13", "RUNNING", "None", false)]
        );
        let sacct = of_sacct("12_1|CANCELLED by 1000\n12_2|TIMEOUT\n");
        assert_eq!(
            told(&sacct),
            [("12_1", "CANCELLED", "by 1000", true), ("12_2", "TIMEOUT", "None", true)]
        );
    }
}

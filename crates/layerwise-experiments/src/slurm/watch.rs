//! Waiting for jobs.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::{ExperimentError, Result};

use super::answer::{Answer, SQUEUE_FORMAT, of_sacct, of_scontrol, of_squeue};
use super::program::{command, output};
use super::submit::Jobs;

/// Time between two questions: short at first, then easy on the cluster.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(15);
/// Questions in a row that may fail: a cluster's controller is started anew now and then.
const FAILURES: u32 = 20;

/// Waits until no job goes on, and says of each that is not completed what became of it.
///
/// It is not left to `sbatch --wait`, whose status is 0 for a job that was cancelled before it began.
pub(super) fn wait(jobs: &Jobs, tasks: u64) -> Result<Vec<String>> {
    let mut ids: Vec<String> = Vec::new();
    if let Some(array) = jobs.array {
        ids.extend((1..=tasks).map(|task| format!("{array}_{task}")));
    }
    ids.push(jobs.render.to_string());
    let mut known: BTreeMap<String, Answer> = BTreeMap::new();
    let (mut pause, mut failures) = (FIRST, 0);
    loop {
        match ask(jobs, &ids, &mut known) {
            Ok(()) => failures = 0,
            Err(error) if failures == FAILURES => return Err(error),
            Err(_) => failures += 1,
        }
        if ids.iter().all(|id| known.get(id).is_some_and(Answer::has_ended)) {
            break;
        }
        std::thread::sleep(pause);
        pause = pause.mul_f64(1.1).min(LONGEST);
    }
    let failed = ids.iter().filter_map(|id| known.get(id)).filter(|answer| !answer.is_completed());
    Ok(failed
        .map(|answer| {
            let Answer { id, state, reason } = answer;
            format!("job {id} is not completed: {state} ({reason})")
        })
        .collect())
}

/// Brings what is known up to date. What has ended before and is listed no more stays as it was.
fn ask(jobs: &Jobs, ids: &[String], known: &mut BTreeMap<String, Answer>) -> Result<()> {
    let listed = output(
        command("squeue")
            .args(["--noheader", "--array", "--states=all", "--format", SQUEUE_FORMAT, "--jobs"])
            .arg(jobs.listed()),
    );
    let named = |answers: Vec<Answer>| answers.into_iter().map(|a| (a.id.clone(), a));
    let mut news: BTreeMap<String, Answer> =
        named(listed.as_deref().map(of_squeue).unwrap_or_default()).collect();
    let ended = |id: &String| known.get(id).is_some_and(Answer::has_ended);
    let open = |news: &BTreeMap<String, Answer>, id: &String| !ended(id) && !news.contains_key(id);
    let mut forgotten = true;
    // What squeue lists no more, these two may still know.
    for (name, words, read) in [
        ("scontrol", &["--oneliner", "show", "job"][..], of_scontrol as fn(&str) -> Vec<Answer>),
        (
            "sacct",
            &["--noheader", "--parsable2", "--allocations", "--format=JobID,State", "--jobs"],
            of_sacct,
        ),
    ] {
        for job in jobs.array.into_iter().chain([jobs.render]).map(|job| job.to_string()) {
            let of_job = |id: &&String| id.split('_').next() == Some(&job);
            if !ids.iter().filter(of_job).any(|id| open(&news, id)) {
                continue;
            }
            match output(command(name).args(words).arg(&job)) {
                Ok(text) => {
                    for (id, answer) in named(read(&text)) {
                        if !ended(&id) {
                            news.entry(id).or_insert(answer);
                        }
                    }
                }
                // There is no accounting.
                Err(ExperimentError::NoScheduler(_)) => {}
                // Invalid: no such job. Disabled: no accounting. Else nobody could be asked.
                Err(error) => {
                    let word = error.to_string();
                    forgotten &= word.contains("nvalid job") || word.contains("disabled");
                }
            }
        }
    }
    let unknown: Vec<&String> = ids.iter().filter(|id| open(&news, id)).collect();
    if !unknown.is_empty() {
        if !forgotten {
            // Whether squeue failed or listed nothing, it is worth asking again.
            listed?;
            return Err(ExperimentError::Scheduler(format!(
                "squeue, scontrol and sacct do not say what became of job {}",
                unknown[0]
            )));
        }
        let forgotten: Vec<Answer> = unknown.into_iter().map(|id| Answer::forgotten(id)).collect();
        news.extend(named(forgotten));
    }
    known.extend(news);
    Ok(())
}

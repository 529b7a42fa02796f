//! Whether panels, tables and claims name what there is.

use toml::value::Datetime;

use crate::claim::ThresholdSet;
use crate::experiment::file::{
    CellChoice, ClaimFile, ExperimentFile, NumberFile, PanelFile, Statistic, WhoseFile,
};
use crate::experiment::grid::equal;
use crate::experiment::source::unknown_name;
use crate::experiment::{Experiment, Fault};
use crate::model::{Kind, Measure};

type Checked = Result<(), Fault>;

/// Columns of tables that are no measures.
pub(crate) const COLUMNS: [&str; 9] =
    ["setting", "title", "method", "rate", "damping", "trial", "iteration", "theory", "seed"];

/// Refuses an experiment whose panels, table or claims name something that there is not.
pub(crate) fn check(experiment: &Experiment) -> Checked {
    let file = &experiment.file;
    texts(file)?;
    if file.figure.is_some_and(|number| !(1..=99).contains(&number)) {
        return Err(Fault::at("figure", "figure: choose a number from 1 to 99"));
    }
    if let Some(name) = &file.tune_by {
        experiment.measured(name, &[Kind::Series, Kind::Iteration], "tune_by")?;
        let all: Vec<usize> = (0..experiment.settings.len()).collect();
        experiment.recorded(name, &all, "tune_by")?;
    }
    if file.picture.columns.is_some_and(|columns| !(1..=6).contains(&columns)) {
        return Err(Fault::at("picture.columns", "columns: choose 1 to 6"));
    }
    if file.panel.is_empty() {
        return Err(Fault::at("", "an experiment has at least one [[panel]]"));
    }
    different(
        "id",
        file.claim.iter().enumerate().flat_map(|(i, claim)| {
            let id = |method: &str| (format!("claim.{i}.id"), claim.id.replace("{method}", method));
            match claim.methods.is_empty() {
                true => vec![id("{method}")],
                false => claim.methods.iter().map(|method| id(method)).collect(),
            }
        }),
    )?;
    let lists = (file.setting.iter().enumerate().map(|(i, s)| ("setting", i, &s.methods)))
        .chain(file.panel.iter().enumerate().map(|(i, p)| ("panel", i, &p.methods)));
    for (list, i, methods) in lists {
        let named = methods.iter().flatten().enumerate();
        different("method", named.map(|(j, m)| (format!("{list}.{i}.methods.{j}"), m.clone())))?;
    }
    for (i, panel) in file.panel.iter().enumerate() {
        experiment.panel(panel).map_err(|f| f.inside(&["panel", &i.to_string()]))?;
    }
    for (i, claim) in file.claim.iter().enumerate() {
        experiment.claim(claim).map_err(|f| f.inside(&["claim", &i.to_string()]))?;
    }
    if let Some(table) = &file.table {
        for (i, column) in table.columns.iter().enumerate() {
            let known = COLUMNS.contains(&column.value.as_str())
                || experiment.model.measure(&column.value).is_some()
                || experiment.axes().any(|axis| axis == column.value)
                || experiment.task_keys().any(|key| key == column.value);
            if !known {
                let mut names: Vec<String> = COLUMNS.iter().map(ToString::to_string).collect();
                names.extend(experiment.model.measures().iter().map(|m| m.name.to_string()));
                names.extend(experiment.axes().map(str::to_string));
                names.extend(experiment.task_keys());
                let mut seen = std::collections::HashSet::new();
                names.retain(|name| seen.insert(name.clone()));
                let names = names.iter().map(String::as_str);
                let message = unknown_name("column", &column.value, names);
                return Err(Fault::at(&format!("table.columns.{i}"), message));
            }
        }
    }
    Ok(())
}

/// Refuses a name that stands for two things.
fn different(what: &str, names: impl Iterator<Item = (String, String)>) -> Checked {
    let mut seen = std::collections::HashSet::new();
    for (place, name) in names {
        if seen.contains(&name) {
            return Err(Fault::at(&place, format!("{what} '{name}' stands here twice")));
        }
        seen.insert(name);
    }
    Ok(())
}

/// The most characters of a title or a label, of a claim, and of a caption.
const TEXTS: [usize; 3] = [200, 2000, 4000];

/// Refuses texts that do not fit into pictures and pages.
fn texts(file: &ExperimentFile) -> Checked {
    let [short, claim, long] = TEXTS;
    text("title", &file.title, short)?;
    if file.title.is_empty() {
        return Err(Fault::at("title", "title: say in one line what it shows"));
    }
    text("caption", &file.caption, long)?;
    for (i, setting) in file.setting.iter().enumerate() {
        text(&format!("setting.{i}.title"), setting.title.as_deref().unwrap_or(""), short)?;
        text(&format!("setting.{i}.name"), &setting.name, short)?;
    }
    for (i, method) in file.method.iter().enumerate() {
        text(&format!("method.{i}.label"), method.label.as_deref().unwrap_or(""), short)?;
        text(&format!("method.{i}.name"), &method.name, short)?;
    }
    if let Some(bar) = &file.picture.colour_bar {
        for (key, value) in
            [("label", &bar.label), ("diverged", &bar.diverged), ("not_reached", &bar.not_reached)]
        {
            text(&format!("picture.colour_bar.{key}"), value, short)?;
        }
    }
    for (i, panel) in file.panel.iter().enumerate() {
        let of_panel = [
            ("title", Some(&panel.title)),
            ("x_label", panel.x_label.as_ref()),
            ("y_label", panel.y_label.as_ref()),
            ("diverged", panel.diverged.as_ref()),
        ];
        for (key, value) in of_panel {
            text(&format!("panel.{i}.{key}"), value.map_or("", String::as_str), short)?;
        }
        let series = panel.series.iter().map(|s| &s.label).enumerate();
        let below = panel.below.iter().map(|b| &b.label).enumerate();
        let rule = panel.rule.iter().map(|r| &r.label).enumerate();
        let labels = (series.map(|(j, label)| ("series", j, label)))
            .chain(below.map(|(j, label)| ("below", j, label)))
            .chain(rule.map(|(j, label)| ("rule", j, label)));
        for (key, j, label) in labels {
            text(&format!("panel.{i}.{key}.{j}.label"), label, short)?;
        }
    }
    for (i, column) in file.table.iter().flat_map(|table| &table.columns).enumerate() {
        text(&format!("table.columns.{i}.header"), &column.header, short)?;
    }
    for (i, one) in file.claim.iter().enumerate() {
        text(&format!("claim.{i}.id"), &one.id, short)?;
        text(&format!("claim.{i}.text"), &one.text, claim)?;
        if let Some(set) = &one.threshold_set {
            threshold_set(&format!("claim.{i}.threshold_set"), set)?;
        }
    }
    match &file.thresholds_set {
        Some(set) => threshold_set("thresholds_set", set),
        None => Ok(()),
    }
}

fn threshold_set(place: &str, set: &ThresholdSet) -> Checked {
    let day = set.on.parse::<Datetime>().is_ok_and(|on| on.time.is_none());
    if !day {
        let message = format!("on: choose a date, such as 2026-11-24, not '{}'", set.on);
        return Err(Fault::at(&format!("{place}.on"), message));
    }
    if set.known.is_empty() {
        return Err(Fault::at(&format!("{place}.known"), "known: say what was known on that day"));
    }
    text(&format!("{place}.known"), &set.known, TEXTS[1])
}

fn text(place: &str, text: &str, most: usize) -> Checked {
    let key = place.rsplit('.').next().unwrap_or(place);
    let refuse = |why: String| Err(Fault::at(place, format!("{key}: {why}")));
    let count = text.chars().count();
    if count > most {
        return refuse(format!("{count} characters; choose at most {most}"));
    }
    if text.chars().any(char::is_control) {
        return refuse(
            "holds a line break or another control character; write it in one line".into(),
        );
    }
    // Pages of claims are Markdown, where this would be read as HTML.
    let after = text.split('<').skip(1).filter_map(|rest| rest.chars().next());
    if after.into_iter().any(|next| next.is_ascii_alphabetic() || "/!?".contains(next)) {
        return refuse("looks like HTML; write a space after '<'".into());
    }
    Ok(())
}

/// Refuses keys that a panel of its kind does not read.
fn unread(panel: &PanelFile, against: bool) -> Checked {
    let mean = panel.statistic == Statistic::Mean;
    let (kind, read): (&str, &[&str]) = match (&panel.map, panel.x.as_str()) {
        (Some(_), _) => ("a map", &[]),
        (None, _) if against => ("a panel of one measure against another", &["series"]),
        (None, "iteration") => ("a panel over iterations", &["series", "below", "rule"]),
        (None, _) if mean => ("a panel of means", &["series", "theory", "mean"]),
        (None, _) => ("a panel of medians over what is varied", &["series", "diverged"]),
    };
    let given = [
        ("series", "series", !panel.series.is_empty()),
        ("below", "below", !panel.below.is_empty()),
        ("rule", "rule", !panel.rule.is_empty()),
        ("theory", "theory", panel.theory),
        ("diverged", "diverged", panel.diverged.is_some()),
        ("mean", "statistic", mean),
    ];
    match given.iter().find(|(key, _, given)| *given && !read.contains(key)) {
        Some((_, key, _)) => Err(Fault::at(key, format!("{kind} has no {key}"))),
        None => Ok(()),
    }
}

impl Experiment {
    /// Names of all that is varied.
    pub(crate) fn axes(&self) -> impl Iterator<Item = &str> {
        let methods = self.methods.iter().flat_map(|method| method.axes.iter().map(|a| &*a.name));
        let settings =
            self.settings.iter().flat_map(|setting| setting.point.iter().map(|(name, _)| &**name));
        methods.chain(settings)
    }

    fn task_keys(&self) -> impl Iterator<Item = String> {
        let first = self.settings.first().map(|setting| setting.problem.canonical());
        let keys = first
            .and_then(|task| task.as_object().map(|t| t.keys().cloned().collect::<Vec<String>>()));
        keys.unwrap_or_default().into_iter()
    }

    fn measured(&self, name: &str, kinds: &[Kind], place: &str) -> Result<&Measure, Fault> {
        let allowed = || self.model.measures().iter().filter(|m| kinds.contains(&m.kind));
        allowed().find(|measure| measure.name == name).ok_or_else(|| {
            Fault::at(place, unknown_name("measure", name, allowed().map(|m| m.name)))
        })
    }

    fn setting_named(&self, name: &str, place: &str) -> Checked {
        if self.group(Some(name)).is_empty() {
            let entries = self.file.setting.iter();
            let names = entries.flat_map(|setting| setting.title.iter().chain([&setting.name]));
            let message = unknown_name("setting", name, names.map(String::as_str));
            return Err(Fault::at(place, message));
        }
        let named = self.file.setting.iter().any(|setting| setting.name == name);
        let titled = self.file.setting.iter().filter(|s| s.title.as_deref() == Some(name));
        if !named && titled.count() > 1 {
            let message = format!("'{name}' is the title of several settings: give a name");
            return Err(Fault::at(place, message));
        }
        Ok(())
    }

    fn method_named(&self, name: &str, place: &str) -> Result<usize, Fault> {
        self.method(name).ok_or_else(|| {
            let names = self.methods.iter().map(|method| method.name.as_str());
            Fault::at(place, unknown_name("method", name, names))
        })
    }

    /// Refuses a measure that one of these settings does not record.
    fn recorded(&self, name: &str, settings: &[usize], place: &str) -> Checked {
        for &setting in settings {
            let setting = &self.settings[setting];
            if let Some(key) = setting.problem.missing_for(name) {
                let title = &setting.title;
                let message = format!("{name} is not measured on '{title}': give its task {key}");
                return Err(Fault::at(place, message));
            }
        }
        Ok(())
    }

    /// The settings that a panel shows.
    fn settings_of(&self, panel: &PanelFile) -> Vec<usize> {
        match panel.series.as_slice() {
            [] => self.group(panel.setting.as_deref()),
            all => all.iter().flat_map(|series| self.group(Some(&series.setting))).collect(),
        }
    }

    fn axis_named(&self, name: &str, place: &str) -> Checked {
        if self.axes().any(|axis| axis == name) {
            return Ok(());
        }
        let mut axes: Vec<&str> = self.axes().collect();
        axes.sort_unstable();
        axes.dedup();
        if axes.is_empty() {
            return Err(Fault::at(place, format!("axis '{name}': nothing is varied in this file")));
        }
        Err(Fault::at(place, unknown_name("axis", name, axes.into_iter())))
    }

    fn panel(&self, panel: &PanelFile) -> Checked {
        let ends = [Kind::Series, Kind::Iteration];
        if let Some(name) = &panel.setting {
            self.setting_named(name, "setting")?;
        }
        for (i, series) in panel.series.iter().enumerate() {
            self.setting_named(&series.setting, &format!("series.{i}.setting"))?;
        }
        let settings = self.settings_of(panel);
        for name in [&panel.map, &panel.fastest].into_iter().flatten().chain([&panel.y]) {
            self.recorded(name, &settings, "y")?;
        }
        for (i, name) in panel.methods.iter().flatten().enumerate() {
            let place = format!("methods.{i}");
            let method = self.method_named(name, &place)?;
            if settings.iter().all(|&setting| self.settings[setting].cells(method).is_none()) {
                let message = format!("'{name}' does not run on what the panel shows");
                return Err(Fault::at(&place, message));
            }
        }
        let against = self.model.measure(&panel.x).is_some();
        unread(panel, against)?;
        if let Some(name) = &panel.fastest {
            self.measured(name, &ends, "fastest")?;
        }
        for (i, below) in panel.below.iter().enumerate() {
            self.method_named(&below.method, &format!("below.{i}.method"))?;
            self.measured(&below.y, &[Kind::Series], &format!("below.{i}.y"))?;
        }
        for (i, rule) in panel.rule.iter().enumerate() {
            self.measured(&rule.trial, &[Kind::Trial], &format!("rule.{i}.trial"))?;
        }
        if let Some(map) = &panel.map {
            self.measured(map, &ends, "map")?;
            self.axis_named(&panel.x, "x")?;
            self.axis_named(&panel.y, "y")?;
            let Some([name]) = panel.methods.as_deref() else {
                return Err(Fault::at("methods", "a map shows one method: methods = [\"..\"]"));
            };
            if self.file.picture.colour_bar.is_none() {
                return Err(Fault::at("map", "a map needs [picture.colour_bar] with a label"));
            }
            let method = self.method(name);
            let axes = |name: &str| method.is_some_and(|m| self.methods[m].axis(name).is_some());
            for (place, name) in [("x", &panel.x), ("y", &panel.y)] {
                if !axes(name) {
                    let message = format!("'{name}' is not varied in this method");
                    return Err(Fault::at(place, message));
                }
            }
            return Ok(());
        }
        if panel.x == "iteration" {
            self.measured(&panel.y, &[Kind::Series], "y")?;
            return Ok(());
        }
        if against {
            self.measured(&panel.x, &[Kind::Series], "x")?;
            self.recorded(&panel.x, &settings, "x")?;
            self.measured(&panel.y, &[Kind::Series], "y")?;
            return Ok(());
        }
        self.measured(&panel.y, &ends, "y")?;
        self.axis_named(&panel.x, "x")?;
        let varied = |&setting: &usize| {
            let setting = &self.settings[setting];
            setting.value(&panel.x).is_some()
                || setting.methods.iter().any(|(m, _)| self.methods[*m].axis(&panel.x).is_some())
        };
        if !settings.iter().any(varied) {
            let message = format!("'{}' is not varied in what the panel shows", panel.x);
            return Err(Fault::at("x", message));
        }
        let categorical = |values: Vec<serde_json::Value>| values.iter().any(|v| !v.is_number());
        let of_methods = self.methods.iter().flat_map(|m| &m.axes).filter(|a| a.name == panel.x);
        let of_settings = self.settings.iter().filter_map(|s| s.value(&panel.x)).cloned().collect();
        if of_methods.map(|a| a.grid.values(false)).any(categorical) || categorical(of_settings) {
            return Err(Fault::at("x", format!("the values of '{}' are no numbers", panel.x)));
        }
        Ok(())
    }

    fn claim(&self, claim: &ClaimFile) -> Checked {
        for (i, name) in claim.methods.iter().enumerate() {
            self.method_named(name, &format!("methods.{i}"))?;
        }
        if let WhoseFile::PaperFor(names) = &claim.whose {
            for (i, name) in names.iter().enumerate() {
                self.method_named(name, &format!("whose.paper_for.{i}"))?;
            }
        }
        match (claim.at_most, claim.at_least) {
            (Some(bound), None) | (None, Some(bound)) if bound.is_finite() => {}
            _ => return Err(Fault::at("", "a claim has one of at_most and at_least, a number")),
        }
        let mut numbers: Vec<(String, &NumberFile)> = Vec::new();
        let mut of = 0;
        for (name, pair) in [
            ("ratio", &claim.ratio),
            ("difference", &claim.difference),
            ("deviation", &claim.deviation),
        ] {
            if let Some(pair) = pair {
                of += 1;
                numbers.extend(pair.iter().enumerate().map(|(i, n)| (format!("{name}.{i}"), n)));
            }
        }
        if let Some(value) = &claim.value {
            of += 1;
            numbers.push(("value".into(), value));
        }
        if let Some(gap) = &claim.theory_gap {
            of += 1;
            for (i, name) in gap.settings.iter().enumerate() {
                self.setting_named(name, &format!("theory_gap.settings.{i}"))?;
            }
            if gap.settings.is_empty() {
                return Err(Fault::at("theory_gap", "theory_gap names at least one setting"));
            }
        }
        if of != 1 {
            let all = "value, ratio, difference, deviation and theory_gap";
            return Err(Fault::at("", format!("a claim has one of {all}")));
        }
        for (place, number) in numbers {
            self.number(number, &place, &claim.methods)?;
        }
        Ok(())
    }

    /// Refuses a number of a method, or of trials, that nothing is computed for.
    fn there_is(&self, number: &NumberFile, method: Option<&str>, place: &str) -> Checked {
        let settings = self.group(number.setting.as_deref());
        let first = settings.first().map(|&setting| &self.settings[setting]);
        let entry = method.and_then(|name| self.method(name));
        if let (Some(name), Some(entry), Some(first)) = (method, entry, first)
            && first.cells(entry).is_none()
        {
            let message = format!("'{name}' does not run on the setting '{}'", first.title);
            return Err(Fault::at(place, message));
        }
        let of_runs = [&number.end, &number.matched, &number.by, &number.decades, &number.share];
        for name in of_runs.into_iter().flatten() {
            self.recorded(name, &settings, place)?;
        }
        // What is chosen among cells, or counts them, needs no value; what is at none would be another's.
        let among = matches!(number.cell, CellChoice::Best | CellChoice::Fastest);
        let chosen = among || number.share.is_some();
        let of_setting = first.into_iter().flat_map(|first| {
            first
                .point
                .iter()
                .filter_map(|(axis, _)| Some((axis, self.grid_of_settings(first.group, axis)?)))
        });
        let of_method = entry.into_iter().flat_map(|entry| self.methods[entry].axes.iter());
        let of_method = of_method
            .filter(|axis| !(axis.tuned || chosen))
            .filter(|axis| !(number.decades.is_some() && axis.name == "rate"))
            .map(|axis| (&axis.name, &axis.grid));
        let lacks = of_setting
            .chain(of_method)
            .find(|(axis, grid)| !number.at.contains_key(*axis) && grid.values(false).len() > 1);
        if let Some((axis, _)) = lacks {
            let message = format!("{axis} is varied: say where, at = {{ {axis} = .. }}");
            return Err(Fault::at(place, message));
        }
        for (axis, wanted) in &number.at {
            let place = format!("{place}.at.{axis}");
            let of_setting = first.and_then(|first| self.grid_of_settings(first.group, axis));
            let of_method = entry.and_then(|entry| self.methods[entry].grid(axis));
            let Some(grid) = of_setting.or(of_method) else {
                self.axis_named(axis, &place)?;
                return Err(Fault::at(&place, format!("'{axis}' is not varied in this number")));
            };
            let values = grid.values(false);
            let word = wanted.as_str().is_some_and(|word| word == "first" || word == "last");
            if !word && !values.iter().any(|value| equal(value, wanted)) {
                let shown: Vec<String> = values.iter().take(20).map(ToString::to_string).collect();
                let more = if values.len() > 20 { ", …" } else { "" };
                let message = format!(
                    "{axis} = {wanted} is not among its values; choose \"first\", \"last\" or one of {}{more}",
                    shown.join(", ")
                );
                return Err(Fault::at(&place, message));
            }
        }
        if number.decades.is_some()
            && entry.is_some_and(|entry| self.methods[entry].axis("rate").is_none())
        {
            return Err(Fault::at(place, "decades needs a method whose learning rate is varied"));
        }
        Ok(())
    }

    fn number(&self, number: &NumberFile, place: &str, loop_over: &[String]) -> Checked {
        let at = |key: &str| format!("{place}.{key}");
        let of = [
            number.end.is_some(),
            number.matched.is_some(),
            number.trial.is_some(),
            number.decades.is_some(),
            number.share.is_some(),
            number.smallest.is_some(),
            number.less.is_some(),
        ];
        if of.iter().filter(|given| **given).count() != 1 {
            let message =
                "a number is one of end, matched, trial, decades, share, smallest and less";
            return Err(Fault::at(place, message));
        }
        let of_method = [&number.end, &number.matched, &number.decades, &number.share];
        let of_method = of_method.iter().any(|given| given.is_some());
        let name = match (&number.method, of_method) {
            (Some(name), true) => Some(name),
            (None, false) => None,
            (Some(_), false) => {
                return Err(Fault::at(&at("method"), "this number is not of a method"));
            }
            (None, true) => {
                return Err(Fault::at(place, "this number is of a method: give method"));
            }
        };
        match name.map(String::as_str) {
            Some("{method}") if !loop_over.is_empty() => {}
            Some("{method}") => {
                let message = "{method} stands for the claim's methods, which are missing";
                return Err(Fault::at(&at("method"), message));
            }
            Some(name) => {
                self.method_named(name, &at("method"))?;
            }
            None => {}
        }
        if let Some(name) = &number.setting {
            self.setting_named(name, &at("setting"))?;
        }
        let named: Vec<&String> = match name.map(String::as_str) {
            Some("{method}") => loop_over.iter().collect(),
            _ => name.into_iter().collect(),
        };
        for name in named {
            self.there_is(number, Some(name), place)?;
        }
        if number.trial.is_some() {
            self.there_is(number, None, place)?;
        }
        let ends = [Kind::Series, Kind::Iteration];
        if let CellChoice::TunedBy(name) = &number.cell {
            self.measured(name, &ends, &at("cell.tuned_by"))?;
        }
        if let Some(name) = &number.end {
            self.measured(name, &ends, &at("end"))?;
        }
        if let Some(name) = &number.trial {
            self.measured(name, &[Kind::Trial], &at("trial"))?;
        }
        if let Some(name) = &number.decades {
            self.measured(name, &[Kind::Series], &at("decades"))?;
            if number.level.is_none() {
                return Err(Fault::at(place, "decades needs a level"));
            }
        }
        if let Some(name) = &number.matched {
            self.measured(name, &[Kind::Series], &at("matched"))?;
            let (Some(by), Some(level)) = (&number.by, number.level) else {
                return Err(Fault::at(place, "matched needs by, a measure, and a level of it"));
            };
            self.measured(by, &[Kind::Series], &at("by"))?;
            if !(level > 0.0 && level.is_finite()) {
                return Err(Fault::at(&at("level"), "level: choose a positive number"));
            }
            if let Some(of) = &number.of {
                self.measured(of, &[Kind::Trial], &at("of"))?;
            }
        } else if number.by.is_some() || number.of.is_some() {
            return Err(Fault::at(place, "by and of stand beside matched"));
        }
        if let Some(name) = &number.share {
            self.measured(name, &[Kind::Iteration], &at("share"))?;
        }
        if number.divided_by.is_some_and(|by| !by.is_finite() || by == 0.0) {
            return Err(Fault::at(&at("divided_by"), "divided_by: choose a number other than 0"));
        }
        for (i, inner) in number.smallest.iter().flatten().enumerate() {
            self.number(inner, &format!("{place}.smallest.{i}"), loop_over)?;
        }
        if number.smallest.as_ref().is_some_and(Vec::is_empty) {
            return Err(Fault::at(&at("smallest"), "smallest needs at least one number"));
        }
        for (i, inner) in number.less.iter().flat_map(|pair| pair.iter()).enumerate() {
            self.number(inner, &format!("{place}.less.{i}"), loop_over)?;
        }
        Ok(())
    }
}

//! The floors of `src`: a module imports only what is below it, and files never one another in a circle.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// From the ground up. Modules of one floor do not import one another.
const FLOORS: [&[&str]; 12] = [
    &["error"],
    &["number", "signal", "numeric"],
    &["schedule"],
    &["values", "layers"],
    &["stage"],
    &["config"],
    &["state"],
    &["statistics"],
    &["stages"],
    &["step"],
    &["set"],
    &["methods", "suite"],
];

/// Those above the floors: they export and describe.
const ROOF: [&str; 3] = ["lib", "guide", "references"];

/// Modules by path, such as `stages::kronecker::root`, with their text.
type Modules = BTreeMap<String, String>;

fn read(folder: &Path, path: &str, modules: &mut Modules) {
    for entry in fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        let name = file.file_stem().unwrap().to_str().unwrap();
        let inside = if path.is_empty() { name.to_owned() } else { format!("{path}::{name}") };
        if file.is_dir() {
            read(&file, &inside, modules);
        } else {
            let module = if name == "mod" { path.to_owned() } else { inside };
            modules.insert(module, fs::read_to_string(&file).unwrap());
        }
    }
}

fn modules() -> Modules {
    let mut modules = Modules::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut modules);
    // Unit tests speak of public names.
    modules.retain(|name, _| !ROOF.contains(&name.as_str()) && !name.ends_with("::tests"));
    modules
}

/// The modules that a module names in its code, each the innermost that is a file.
fn imports<'m>(name: &str, modules: &'m Modules) -> Vec<&'m str> {
    let code = modules[name].lines().filter(|line| !line.trim_start().starts_with("//"));
    let paths = code.flat_map(|line| line.split("crate::").skip(1));
    let mut found: Vec<_> = paths
        .filter_map(|path| {
            assert!(!path.starts_with('{'), "{name}: one `use crate::` for each module");
            let end = path.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
            let mut path = &path[..end.unwrap_or(path.len())];
            loop {
                match modules.get_key_value(path) {
                    Some((module, _)) => return Some(module.as_str()),
                    None => path = path.rsplit_once("::")?.0,
                }
            }
        })
        .filter(|module| *module != name)
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn floor(module: &str) -> usize {
    let room = module.split("::").next().unwrap();
    let at = FLOORS.iter().position(|rooms| rooms.contains(&room));
    at.unwrap_or_else(|| panic!("{room} has no floor: give it one in FLOORS"))
}

/// Imports that do not go down, where they leave their module at the root.
fn upward(modules: &Modules) -> Vec<(&str, &str)> {
    let room = |module: &str| module.split("::").next().map(str::to_owned);
    let all = modules.keys().flat_map(|name| {
        imports(name, modules).into_iter().map(move |import| (name.as_str(), import))
    });
    all.filter(|(name, import)| room(name) != room(import) && floor(import) >= floor(name))
        .collect()
}

/// What is left when modules that import nothing of what is left are taken away, again and again.
fn circles(modules: &Modules) -> Vec<&str> {
    let mut left: Vec<_> = modules.keys().map(String::as_str).collect();
    loop {
        let is_free = |name: &&str| !imports(name, modules).iter().any(|i| left.contains(i));
        let rest: Vec<_> = left.iter().copied().filter(|name| !is_free(name)).collect();
        if rest.len() == left.len() {
            return rest;
        }
        left = rest;
    }
}

#[test]
fn a_floor_imports_what_is_below_it() {
    let modules = modules();
    assert_eq!(upward(&modules), Vec::<(&str, &str)>::new());
    let rooms: Vec<_> = modules.keys().map(|name| floor(name)).collect();
    assert!((0..FLOORS.len()).all(|floor| rooms.contains(&floor)), "a floor is empty");
}

#[test]
fn files_do_not_import_one_another_in_a_circle() {
    assert_eq!(circles(&modules()), Vec::<&str>::new());
}

#[test]
fn a_planted_import_is_found() {
    let plant = |into: &str, import: &str| {
        let mut modules = modules();
        modules.get_mut(into).unwrap().push_str(import);
        modules
    };
    let up = plant("config::sign", "use crate::stages::sign::Sign;\n");
    assert_eq!(upward(&up), [("config::sign", "stages::sign")]);
    let level = plant("signal", "use crate::schedule::When;\n");
    assert_eq!(upward(&level), [("signal", "schedule")]);
    let circle = plant("stages::drift", "use crate::stages::kronecker::root::FactorRoot;\n");
    let found = circles(&circle);
    assert!(found.contains(&"stages::drift"), "{found:?}");
    assert!(found.contains(&"stages::kronecker::root"), "{found:?}");
}

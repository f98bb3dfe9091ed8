//! The files that `import` names.

use std::path::{Path, PathBuf};

/// The files that `pattern` names, in order of their names, with their text. One wildcard in it
/// may match nothing.
pub(super) fn files(directory: &Path, pattern: &str) -> Result<Vec<(PathBuf, String)>, String> {
    let whole = directory.join(pattern);
    let text = whole.to_string_lossy();
    if text.matches(['*', '?']).count() > 1 || text.contains('[') {
        return Err(format!("import: \"{pattern}\" may hold one wildcard (* or ?) only"));
    }
    let read = |path: PathBuf| match std::fs::read_to_string(&path) {
        Ok(text) => Ok((path, text)),
        Err(error) => Err(format!("import: cannot read {}: {error}", path.display())),
    };
    if !text.contains(['*', '?']) {
        if !whole.exists() {
            return Err(format!(
                "import: \"{pattern}\" is neither a snippet that is defined above nor a file"
            ));
        }
        return Ok(vec![read(whole)?]);
    }
    let mut paths = vec![PathBuf::new()];
    for part in whole.components() {
        let name = part.as_os_str().to_string_lossy();
        if !name.contains(['*', '?']) {
            paths.iter_mut().for_each(|path| path.push(part));
            continue;
        }
        let mut found = Vec::new();
        for path in &paths {
            let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
            found.extend(
                entries
                    .filter(|entry| matches(&name, &entry.file_name().to_string_lossy()))
                    .map(|entry| entry.path()),
            );
        }
        found.sort();
        paths = found;
    }
    paths.into_iter().filter(|path| path.is_file()).map(read).collect()
}

/// Whether `name` is what `pattern` with its one wildcard says.
fn matches(pattern: &str, name: &str) -> bool {
    let Some(at) = pattern.find(['*', '?']) else { return pattern == name };
    let (before, after) = (&pattern[..at], &pattern[at + 1..]);
    let Some(rest) = name.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)) else {
        return false;
    };
    // A hidden file has to be named.
    let hidden = before.is_empty() && name.starts_with('.');
    !hidden && (pattern.as_bytes()[at] == b'*' || rest.chars().count() == 1)
}

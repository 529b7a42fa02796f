//! Workspace that is lent for the length of a call: layers that are not stepped at the same time share it.

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use layerwise_linalg::{
    Cholesky, CoupledNewtonWorkspace, ExactPolar, PolarWorkspace, RowOrthonormalizer, Scalar,
    SymmetricEigen,
};
use ndarray::{Array1, Array2, Axis};

/// A handle on arrays and workspaces of the linear algebra. What is lent has arbitrary contents.
///
/// The lock is held to take something and to give it back, never while it is used.
pub(crate) struct Pool<A>(Arc<Mutex<Shelves<A>>>);

/// What is not lent. What was given back last is lent first, as it is in the cache.
struct Shelves<A> {
    arrays: Vec<Vec<A>>,
    workspaces: BTreeMap<Key, Vec<Box<dyn Workspace>>>,
}

/// What a workspace is, and for which shape.
type Key = (TypeId, (usize, usize));

/// Storage of a routine for one shape.
pub(crate) trait Workspace: Any + Send {
    fn with_shape(shape: (usize, usize)) -> Self
    where
        Self: Sized;

    fn memory_bytes(&self) -> usize;
}

/// What one layer is lent at most at a time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Needs {
    /// Entries of arrays, in descending order.
    arrays: Vec<usize>,
    workspaces: BTreeMap<Key, fn((usize, usize)) -> Box<dyn Workspace>>,
}

impl Needs {
    pub(crate) fn arrays(count: usize, shape: (usize, usize)) -> Self {
        Needs { arrays: vec![shape.0 * shape.1; count], workspaces: BTreeMap::new() }
    }

    pub(crate) fn workspace<W: Workspace>(shape: (usize, usize)) -> Self {
        let make = |shape| Box::new(W::with_shape(shape)) as Box<dyn Workspace>;
        Needs { arrays: Vec::new(), workspaces: BTreeMap::from([(key::<W>(shape), make as _)]) }
    }

    /// Both at the same time.
    pub(crate) fn and(mut self, other: Needs) -> Self {
        self.arrays.extend(other.arrays);
        self.arrays.sort_unstable_by(|a, b| b.cmp(a));
        self.workspaces.extend(other.workspaces);
        self
    }

    /// One after the other.
    pub(crate) fn or(mut self, other: Needs) -> Self {
        let count = self.arrays.len().max(other.arrays.len());
        self.arrays.resize(count, 0);
        for (own, other) in self.arrays.iter_mut().zip(other.arrays) {
            *own = other.max(*own);
        }
        self.workspaces.extend(other.workspaces);
        self
    }
}

fn key<W: Workspace>(shape: (usize, usize)) -> Key {
    (TypeId::of::<W>(), shape)
}

impl<A> Pool<A> {
    pub(crate) fn new() -> Self {
        Pool(Arc::new(Mutex::new(Shelves { arrays: Vec::new(), workspaces: BTreeMap::new() })))
    }

    /// Between two calls nothing is half done, whatever panicked.
    fn shelves(&self) -> MutexGuard<'_, Shelves<A>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of what is not lent.
    pub(crate) fn memory_bytes(&self) -> usize {
        let shelves = self.shelves();
        let arrays = shelves.arrays.iter().map(|array| array.capacity() * size_of::<A>());
        let workspaces = shelves.workspaces.values().flatten();
        arrays.sum::<usize>() + workspaces.map(|w| w.memory_bytes()).sum::<usize>()
    }
}

impl<A: Scalar> Pool<A> {
    /// Makes what these layers are lent where up to so many are under way at once.
    pub(crate) fn reserve(&self, layers: &[&Needs], at_once: usize) {
        // Of each layer's largest arrays there are as many as the largest of them ask for, and so on.
        let mut wanted = Vec::new();
        for rank in 0..layers.iter().map(|needs| needs.arrays.len()).max().unwrap_or(0) {
            let mut sizes: Vec<_> =
                layers.iter().filter_map(|needs| needs.arrays.get(rank).copied()).collect();
            sizes.sort_unstable_by(|a, b| b.cmp(a));
            wanted.extend(sizes.into_iter().take(at_once));
        }
        wanted.sort_unstable_by(|a, b| b.cmp(a));
        let mut shelves = self.shelves();
        shelves.arrays.sort_by_key(|array| std::cmp::Reverse(array.capacity()));
        let missing = wanted.len().saturating_sub(shelves.arrays.len());
        shelves.arrays.extend((0..missing).map(|_| Vec::new()));
        for (array, len) in shelves.arrays.iter_mut().zip(wanted) {
            if array.capacity() < len {
                // The former one is freed first.
                *array = Vec::new();
                *array = vec![A::zero(); len];
            }
        }
        let mut counts = BTreeMap::new();
        for (&key, make) in layers.iter().flat_map(|needs| &needs.workspaces) {
            let count = counts.entry(key).or_insert(0);
            *count = at_once.min(*count + 1);
            let shelf = shelves.workspaces.entry(key).or_default();
            if shelf.len() < *count {
                shelf.push(make(key.1));
            }
        }
    }

    /// Lends an array: the smallest that is large enough, or where there is none, a new one in the place
    /// of the largest.
    pub(crate) fn array(&self, shape: (usize, usize)) -> Lent<A> {
        let len = shape.0 * shape.1;
        let mut entries = if len == 0 { Vec::new() } else { self.shelves().take(len) };
        if entries.capacity() < len {
            entries = Vec::new();
            entries.reserve_exact(len);
        }
        entries.resize(len, A::zero());
        if cfg!(debug_assertions) {
            // Shows in every test what is read before it is written.
            entries.fill(A::nan());
        }
        let array = Array2::from_shape_vec(shape, entries);
        Lent { array: array.unwrap_or_else(|_| Array2::zeros(shape)), pool: self.clone() }
    }

    /// Lends a workspace.
    pub(crate) fn with<W: Workspace, T>(
        &self,
        shape: (usize, usize),
        work: impl FnOnce(&mut W) -> T,
    ) -> T {
        let free = self.shelves().workspaces.get_mut(&key::<W>(shape)).and_then(Vec::pop);
        let mut workspace = free
            .and_then(|workspace| (workspace as Box<dyn Any>).downcast().ok())
            .unwrap_or_else(|| Box::new(W::with_shape(shape)));
        let done = work(&mut workspace);
        self.shelves().workspaces.entry(key::<W>(shape)).or_default().push(workspace);
        done
    }
}

impl<A> Shelves<A> {
    fn take(&mut self, len: usize) -> Vec<A> {
        let preference = |&at: &usize| match self.arrays[at].capacity() {
            size if size >= len => (false, size),
            size => (true, usize::MAX - size),
        };
        let best = (0..self.arrays.len()).rev().min_by_key(preference);
        best.map_or(Vec::new(), |at| self.arrays.remove(at))
    }
}

impl<A> Clone for Pool<A> {
    fn clone(&self) -> Self {
        Pool(Arc::clone(&self.0))
    }
}

impl<A> fmt::Debug for Pool<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

/// An array that goes back when it is dropped.
#[derive(Debug)]
pub(crate) struct Lent<A> {
    array: Array2<A>,
    pool: Pool<A>,
}

impl<A> Deref for Lent<A> {
    type Target = Array2<A>;

    fn deref(&self) -> &Array2<A> {
        &self.array
    }
}

impl<A> DerefMut for Lent<A> {
    fn deref_mut(&mut self) -> &mut Array2<A> {
        &mut self.array
    }
}

impl<A> Drop for Lent<A> {
    fn drop(&mut self) {
        let nothing = Array1::from_vec(Vec::new()).insert_axis(Axis(0));
        let (entries, _) = std::mem::replace(&mut self.array, nothing).into_raw_vec_and_offset();
        if entries.capacity() > 0 {
            self.pool.shelves().arrays.push(entries);
        }
    }
}

/// Implements [`Workspace`] by what makes one of a shape.
macro_rules! workspace {
    ($type:ident, $shape:pat => $made:expr) => {
        impl<A: Scalar> Workspace for $type<A> {
            fn with_shape($shape: (usize, usize)) -> Self {
                $made
            }

            fn memory_bytes(&self) -> usize {
                self.memory_bytes()
            }
        }
    };
}

workspace!(SymmetricEigen, (n, _) => SymmetricEigen::with_dimension(n));
workspace!(RowOrthonormalizer, (k, d) => RowOrthonormalizer::with_shape(k, d));
workspace!(PolarWorkspace, (r, c) => PolarWorkspace::with_shape(r, c));
workspace!(ExactPolar, (r, c) => ExactPolar::with_shape(r, c));
workspace!(CoupledNewtonWorkspace, (n, _) => CoupledNewtonWorkspace::with_dimension(n));
workspace!(Cholesky, (n, _) => Cholesky::with_dimension(n));

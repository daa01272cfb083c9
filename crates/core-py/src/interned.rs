//! Strings that Python knows by identity, made once and kept together.

/// Declares a struct of interned strings, with a constructor `new(py)`.
macro_rules! interned {
    ($(#[$meta:meta])* $visibility:vis struct $name:ident { $($field:ident $text:literal,)* }) => {
        $(#[$meta])*
        $visibility struct $name {
            $($visibility $field: pyo3::Py<pyo3::types::PyString>,)*
        }

        impl $name {
            $visibility fn new(py: pyo3::Python<'_>) -> $name {
                $name { $($field: pyo3::types::PyString::intern(py, $text).unbind(),)* }
            }
        }
    };
}

pub(crate) use interned;

"""The reference pages, one module a page: each reads the code that it describes and says what there has no description."""

"""How files of vendors are read, the same for every source.

opening     one place that opens: a file, a folder, a glob; packed or not; within a budget of bytes
splitting   one place that splits: lines into cells, faults per line kept
sheets      both together: the rows of a file with their place
written     how a value is written, as a declaration says it
moments     days and times, read from a column as it is declared
numbers     numbers, likewise
"""

-- trick: lifts the memory limit
-- expect: refused
SET datafusion.runtime.memory_limit = '1000G'

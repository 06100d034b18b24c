"""What callbacks return."""

cpdef int check_result(str callback, object result, bint may_be_async=*) except -1

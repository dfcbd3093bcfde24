# find_package(ferry CONFIG) gives two targets: ferry::ferry, the shared library, and ferry::static, which leaves nothing to be found at run
# time. Both bring the folder of libferry.h and libferry.hpp, and need no other library. For the one of a Python package:
#
#     cmake -B build -Dferry_DIR="$(ferry --cmakedir)"

get_filename_component(_ferry_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)

if(NOT TARGET ferry::ferry)
    add_library(ferry::ferry SHARED IMPORTED)
    set_target_properties(ferry::ferry PROPERTIES
        IMPORTED_LOCATION "${_ferry_prefix}/lib/libferry.so"
        IMPORTED_SONAME "libferry.so"
        INTERFACE_INCLUDE_DIRECTORIES "${_ferry_prefix}/include")
endif()

if(NOT TARGET ferry::static)
    add_library(ferry::static STATIC IMPORTED)
    set_target_properties(ferry::static PROPERTIES
        IMPORTED_LOCATION "${_ferry_prefix}/lib/libferry.a"
        IMPORTED_LINK_INTERFACE_LANGUAGES "C"
        INTERFACE_INCLUDE_DIRECTORIES "${_ferry_prefix}/include")
endif()

unset(_ferry_prefix)

# The version is that of the header beside it. Before 1.0 every minor version may break what the one before it promised.

file(STRINGS "${CMAKE_CURRENT_LIST_DIR}/../../../include/libferry.h" _ferry_lines REGEX "^#define FERRY_VERSION_(MAJOR|MINOR|PATCH) ")
foreach(_ferry_part MAJOR MINOR PATCH)
    string(REGEX REPLACE ".*FERRY_VERSION_${_ferry_part} ([0-9]+).*" "\\1" _ferry_${_ferry_part} "${_ferry_lines}")
endforeach()
set(PACKAGE_VERSION "${_ferry_MAJOR}.${_ferry_MINOR}.${_ferry_PATCH}")

set(PACKAGE_VERSION_COMPATIBLE FALSE)
if(PACKAGE_VERSION VERSION_GREATER_EQUAL PACKAGE_FIND_VERSION AND PACKAGE_FIND_VERSION_MAJOR STREQUAL _ferry_MAJOR)
    if(_ferry_MAJOR GREATER 0 OR PACKAGE_FIND_VERSION_COUNT EQUAL 1 OR PACKAGE_FIND_VERSION_MINOR STREQUAL _ferry_MINOR)
        set(PACKAGE_VERSION_COMPATIBLE TRUE)
    endif()
endif()
if(PACKAGE_VERSION VERSION_EQUAL PACKAGE_FIND_VERSION)
    set(PACKAGE_VERSION_EXACT TRUE)
endif()
